import type { Migration } from "../migrate.ts"

/** Nearly every key has no parent and never ends, and nearly every user stays: none of them needs a place in these. */
export const leanIndexes: Migration = {
  name: "0003-lean-indexes",
  statements: () => [
    "drop index users_state",
    "create index users_deleting on users (id) where state = 'deleting'",
    "drop index api_keys_parent",
    "create index api_keys_parent on api_keys (parent_hash) where parent_hash is not null",
    "drop index api_keys_expiry",
    "create index api_keys_expiry on api_keys (expires_at) where expires_at is not null",
  ],
}
