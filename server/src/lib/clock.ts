/** Time as an argument: tests hand in one they can set. All times are whole milliseconds since 1970, UTC. */
export interface Clock {
  now(): number
}

export const systemClock: Clock = { now: () => Date.now() }

/** RFC 3339 in UTC with milliseconds, the form of every time in the API. */
export function iso(ms: number): string {
  if (ms !== written.ms) written = { ms, text: new Date(ms).toISOString() }
  return written.text
}

/** Many answers and lines share a millisecond, and writing a time costs as much as the rest of a line. */
let written = { ms: 0, text: "1970-01-01T00:00:00.000Z" }
