// Loads a program and evaluates calls of it; prints a JSON list with the outcome of each. What is expected never comes here.
"use strict";
const fs = require("node:fs");
const { program, calls } = JSON.parse(fs.readFileSync(0, "utf8"));
const begun = Number(process.argv[2]); // what goes wrong before this is the checker's fault, all else is the program's
fs.writeSync(begun, "begun");
fs.closeSync(begun);
const print = process.stdout.write.bind(process.stdout);
const exit = process.exit.bind(process);
console.log = console.info = console.warn = console.error = () => {};

// JSON has no undefined, NaN and infinities; an object that is no plain one equals nothing.
function plain(value) {
  if (value === undefined || typeof value === "number" && !Number.isFinite(value)) return { $: String(value) };
  if (typeof value === "bigint") return { $bigint: String(value) };
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== "object") return typeof value === "function" || typeof value === "symbol" ? { $: "no value" } : value;
  if (![Object.prototype, null].includes(Object.getPrototypeOf(value))) return { $: "no plain object" };
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, plain(part)]));
}

async function main() {
  const thunks = new Function(`${program}\n;return [${calls.map((call) => `() => (${call})`).join(",")}];`)();
  const outcomes = [];
  for (const thunk of thunks) {
    try {
      outcomes.push({ value: plain(await thunk()) });
    } catch (error) {
      outcomes.push({ raised: String(error).slice(0, 300) });
    }
  }
  return outcomes;
}

main().then((outcomes) => print(JSON.stringify({ outcomes }), () => exit(0)), (error) => print(JSON.stringify({ failed: String(error).slice(0, 300) }), () => exit(0)));
