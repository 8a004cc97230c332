"""The formats of OpenAI's and Anthropic's APIs, for the HTTP gateway, the gateway and batches.

Each protocol has one file each way: `chat_request` and `chat_reply`, `responses_request` and `responses_reply`,
`messages_request` and `messages_reply`. `protocols` names them; the rest is what they share.
"""
