// Controls (C0, DEL, C1: with them every ANSI sequence), line and paragraph separators, and what turns text around.
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g
const SHORT: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }

/** Makes one line of any text, safe to print in a terminal. Nothing is lost: what is unsafe is shown as its escape. */
export function oneLine(text: string, maxLength: number): string {
  const whole = text.toWellFormed()
  const cut = whole.length > maxLength ? `${whole.slice(0, maxLength).toWellFormed()}…` : whole
  return cut.replace(UNSAFE, (char) => SHORT[char] ?? `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`)
}
