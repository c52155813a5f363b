import { setTimeout as pause } from "node:timers/promises"
import { startOpenAiDouble } from "../../test/doubles/openai.ts"
import { readSse } from "../../test/sse.ts"
import { interleaved, median, type Row } from "./rows.ts"
import { account, benchServer, type Chat, chat, message, residentMb, stream } from "./server.ts"

const WORDS = Array.from({ length: 40 }, (_, i) => `word${i}`).join(" ")
const STREAMS = 500
const USERS = 10

/** What a chat costs beside the provider, how soon a stream begins, and what 500 streams at once hold in memory. */
export async function benchChat(rounds = 100): Promise<Row[]> {
  await using double = await startOpenAiDouble()
  await using server = await benchServer(double.url)
  const one: Chat = { server, user: "ada", key: await account(server, "ada") }
  double.script(() => ({ text: "Hello to you." }))
  const direct = async () => {
    const answer = await fetch(`${double.url}/v1/chat/completions`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: "Bearer bench" },
      body: JSON.stringify({ model: "bench", stream: true, messages: [{ role: "user", content: "hello" }] }),
    })
    await answer.text()
  }
  const firstByte: number[] = []
  const streamed = async () => {
    const start = performance.now()
    const answer = await stream(one, message("hello"))
    const reader = answer.body?.getReader()
    await reader?.read()
    firstByte.push(performance.now() - start)
    while (!(await reader?.read())?.done);
  }
  const run = { direct, chat: () => chat(one, message("hello")), streamed }
  await interleaved(20, run)
  firstByte.length = 0
  const times = await interleaved(rounds, run)
  return [
    { name: "added to a chat by the server", median: median(times.chat) - median(times.direct), unit: "ms", limit: 10 },
    { name: "first byte of a stream", median: median(firstByte), unit: "ms", limit: 15 },
    ...(await benchStreams()),
  ]
}

async function benchStreams(): Promise<Row[]> {
  await using double = await startOpenAiDouble()
  await using server = await benchServer(double.url)
  const chats: Chat[] = []
  for (let i = 0; i < USERS; i++) {
    const user = `user-${i}`
    chats.push({ server, user, key: await account(server, user) })
  }
  double.script(() => ({ text: WORDS, wordDelayMs: 100 }))
  await pause(2000)
  const idle = residentMb(server.pid)
  let peak = idle
  const watch = setInterval(() => {
    peak = Math.max(peak, residentMb(server.pid))
  }, 20)
  const whole = await Promise.all(
    Array.from({ length: STREAMS }, async (_, i) => {
      const one = chats[i % USERS]
      if (one === undefined) return false
      let text = ""
      let done: unknown
      for await (const event of readSse(await stream(one, message("go")))) {
        if (event.event === "message.delta") text += event.data.delta
        if (event.event === "done") done = event.data.message
      }
      return text === WORDS && done === WORDS
    }),
  )
  clearInterval(watch)
  return [
    {
      name: `${STREAMS} streams of 40 words at once: whole`,
      median: whole.filter(Boolean).length,
      unit: "streams",
      limit: STREAMS,
      atLeast: true,
    },
    { name: "each of them over idle", median: (peak - idle) / STREAMS, unit: "MB", limit: 0.5 },
  ]
}
