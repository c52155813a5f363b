/** One server-sent event as it came. */
export interface SeenEvent {
  id: string | null
  event: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into events of every shape
  data: any
}

/** Reads events as they come; ends with the stream. Comments are left out. */
export async function* readSse(answer: Response): AsyncGenerator<SeenEvent> {
  if (answer.status !== 200 || answer.body === null)
    throw new Error(`no stream: ${answer.status} ${await answer.text()}`)
  let text = ""
  const decoder = new TextDecoder()
  for await (const chunk of answer.body) {
    text += decoder.decode(chunk, { stream: true })
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const lines = text.slice(0, end).split("\n")
      text = text.slice(end + 2)
      const field = (name: string) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? null
      const event = field("event")
      if (event !== null) yield { id: field("id"), event, data: JSON.parse(field("data") ?? "null") }
    }
  }
}
