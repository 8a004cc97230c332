// What tests look for in the texts of a page: `evaluate` gives this object.
({
  /** Texts of neighbouring elements that stand side by side as one word, such as `<a>one</a>two`. What models wrote, code and
   * formulas are theirs. */
  joined() {
    const theirs = ".text, .prose, .said, .plain, .question, pre, math, script, noscript, [aria-hidden]";
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT, ({ data, parentElement }) =>
      data.trim() && !parentElement.closest(theirs) ? NodeFilter.FILTER_ACCEPT : NodeFilter.FILTER_REJECT);
    const box = (node, at) => {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      return range.getBoundingClientRect();
    };
    const found = [];
    for (let before = walk.nextNode(), after = walk.nextNode(); after; [before, after] = [after, walk.nextNode()]) {
      const areWords = /[\p{L}\p{N}.,;:!?%)]$/u.test(before.data) && /^[\p{L}\p{N}$(]/u.test(after.data);
      const [left, right] = [box(before, before.length - 1), box(after, 0)];
      const isOneLine = left.width && right.width && left.top < right.bottom && right.top < left.bottom;
      if (areWords && isOneLine && Math.abs(right.left - left.right) < 1) found.push(`${before.data.slice(-20)}|${after.data.slice(0, 20)}`);
    }
    return found;
  },

  /** Numbers, with their sign and unit, within which a line ends. */
  broken() {
    const walk = document.createTreeWalker(document.querySelector("main"), NodeFilter.SHOW_TEXT);
    const found = [];
    while (walk.nextNode()) {
      for (const amount of walk.currentNode.data.matchAll(/(?<![\w-])−?\$?\d[\d.,]*\d(\s(%|ms|s)(?!\w))?/gu)) {
        const range = document.createRange();
        range.setStart(walk.currentNode, amount.index);
        range.setEnd(walk.currentNode, amount.index + amount[0].length);
        const lines = new Set([...range.getClientRects()].filter(({ width }) => width).map(({ top }) => Math.round(top)));
        if (lines.size > 1) found.push(amount[0]);
      }
    }
    return found;
  },
})
