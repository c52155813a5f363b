/** A command's output in bounded memory: its head, its tail, and how much lies between. */
export interface KeptOutput {
  add(text: string): void
  /** `whole` tells where all of it is, for the note in the middle. */
  text(whole: string | null): string
  readonly cut: boolean
}

export function createKeptOutput(headChars: number, tailChars: number): KeptOutput {
  let head = ""
  let tail = ""
  let total = 0
  return {
    add(text) {
      total += text.length
      const room = headChars - head.length
      if (room > 0) head += text.slice(0, room)
      if (room < text.length) tail += text.slice(Math.max(room, 0))
      // Cut seldom, so that many small pieces stay cheap.
      if (tail.length > 4 * tailChars) tail = tail.slice(-tailChars)
    },
    get cut() {
      return total > headChars + tailChars
    },
    text(whole) {
      if (total <= headChars + tailChars) return head + tail
      const left = total - headChars - tailChars
      const where = whole === null ? "" : `; the whole output is in ${whole}`
      return `${wellFormed(head)}\n[${left} characters left out${where}]\n${wellFormed(tail.slice(-tailChars))}`
    },
  }
}

/** A cut may go through the middle of a character. */
const wellFormed = (text: string) => (text.isWellFormed() ? text : text.toWellFormed().replaceAll("\ufffd", ""))
