import { once } from "node:events"
import { startAnthropicDouble } from "../../test/doubles/anthropic.ts"
import type { Reply } from "../../test/doubles/double.ts"
import { call } from "../../test/server.ts"

/**
 * One hostile tenant in a process of its own: its provider sends what is known to block a naive loop, and its chats ask
 * for it without a pause. Says its double's address; is told the server's and begins.
 */
const double = await startAnthropicDouble()
const lines = (word: string) => Array.from({ length: 5000 }, (_, i) => `${word} ${i} ${"x".repeat(30)}`).join("\n")
const before = lines("before")

/** Each pair: the tool calls of one answer, then the end. */
const ATTACKS: Record<string, Reply> = {
  edit: {
    toolCalls: [
      { name: "write", arguments: { path: "big.txt", content: before } },
      { name: "edit", arguments: { path: "big.txt", edits: [{ oldText: before, newText: lines("after") }] } },
    ],
  },
  arguments: {
    toolCalls: [{ name: "write", arguments: { path: "a.txt", content: "a".repeat(150_000) } }],
    argumentPieces: 25,
  },
  line: { lineOfBytes: 64 * 1024 * 1024 },
}

process.send?.({ doubleUrl: double.url })
const [{ url, key }] = (await once(process, "message")) as [{ url: string; key: string }]

double.script((_request, index) => {
  const attacks = Object.values(ATTACKS)
  return index % 2 === 0 ? (attacks[(index / 2) % attacks.length] ?? {}) : { text: "done" }
})

const image = Buffer.alloc(5 * 1024 * 1024, 0)
Buffer.from("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "latin1").copy(image)
const pictures = Array.from({ length: 2 }, () => ({
  type: "image",
  mime_type: "image/png",
  data: image.toString("base64"),
}))

async function attack(content: unknown): Promise<void> {
  for (;;) {
    await call(url, "POST", "/users/mallory/agents/manager/chat", { messages: [{ role: "user", content }] }, key).catch(
      () => null,
    )
  }
}

await Promise.all([
  attack("edit, arguments, lines"),
  attack("edit, arguments, lines"),
  attack([{ type: "text", text: "look" }, ...pictures]),
])
