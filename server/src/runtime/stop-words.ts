/**
 * Ends a text at the first of the given words, for providers that cannot do it themselves. What might be the beginning
 * of such a word is held back until it is clear.
 */
export interface StopWords {
  /** What may be shown of the text so far that was not given out before; `found` once a word has come. */
  push(delta: string): { show: string; found: boolean }
  /** What was held back, at the end of the text. */
  end(): string
}

export function createStopWords(words: readonly string[]): StopWords {
  const longest = Math.max(0, ...words.map((word) => word.length))
  let held = ""
  return {
    push(delta) {
      held += delta
      const places = words.map((word) => held.indexOf(word)).filter((place) => place >= 0)
      if (places.length > 0) {
        const show = held.slice(0, Math.min(...places))
        held = ""
        return { show, found: true }
      }
      const keep = Math.min(held.length, Math.max(0, longest - 1))
      const show = held.slice(0, held.length - keep)
      held = held.slice(held.length - keep)
      return { show, found: false }
    },
    end() {
      const rest = held
      held = ""
      return rest
    },
  }
}
