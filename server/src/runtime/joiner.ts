/** Joins small pieces of text so that fewer messages are sent: the first goes out at once, later ones every 20 ms. */
export interface Joiner {
  push(piece: string): void
  /** Sends what is held, now: before any event that must not overtake it. */
  flush(): void
}

const JOIN_MS = 20

export function createJoiner(send: (text: string) => void): Joiner {
  let held = ""
  let timer: NodeJS.Timeout | null = null
  const tick = () => {
    if (held === "") {
      timer = null
      return
    }
    const text = held
    held = ""
    timer = setTimeout(tick, JOIN_MS)
    send(text)
  }
  return {
    push(piece) {
      if (piece === "") return
      held += piece
      if (timer === null) tick()
    },
    flush() {
      if (timer !== null) clearTimeout(timer)
      timer = null
      const text = held
      held = ""
      if (text !== "") send(text)
    },
  }
}
