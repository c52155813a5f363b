/** Time as an argument: tests hand in one they can set. All times are whole milliseconds since 1970, UTC. */
export interface Clock {
  now(): number
}

export const systemClock: Clock = { now: () => Date.now() }

/** RFC 3339 in UTC with milliseconds, the form of every time in the API. */
export function iso(ms: number): string {
  return new Date(ms).toISOString()
}
