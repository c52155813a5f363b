import type { Migration } from "../migrate.ts"

/** What a reservation is booked as when the server that should settle it died. */
export const lostCalls: Migration = {
  name: "0002-lost-calls",
  statements: ({ text }) => [`alter table reservations add column if_lost ${text}`],
}
