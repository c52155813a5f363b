import type { Generated } from "kysely"

/**
 * The one schema of both databases. Times are whole milliseconds since 1970 (UTC); money is whole nano-USD; flags are
 * 0 or 1; JSON is text. Every row of a user bears `user_id`, the opaque id, so that `forUser` can bind it.
 */
export interface Schema {
  meta: { name: string; value: string }
  /** Numbers given once and never again, e.g. host uids. */
  counters: { name: string; value: number }
  users: {
    id: string
    /** Null once the user is being deleted: the name is free again. */
    name: string | null
    email: string | null
    display_name: string | null
    tier: string
    state: "active" | "suspended" | "deleting"
    state_reason: string | null
    /** JSON of LimitOverrides. */
    limits: string
    created_at: number
  }
  /** The user's data key, sealed by the master key of `master_version`. */
  data_keys: { user_id: string; sealed: Uint8Array; master_version: number; created_at: number }
  api_keys: {
    /** The time in the key and its SHA-256 in hex; of older keys that alone. The key itself is stored nowhere. */
    hash: string
    kind: KeyKind
    user_id: string | null
    agent_id: string | null
    /** The key that this one was opened with (a sign-in, a gateway token): it dies with it. */
    parent_hash: string | null
    created_at: number
    /** Null: never. */
    expires_at: number | null
    /** Kind `cookie` of an administrator who looks at an account: the account's user id is `user_id`. */
    impersonated_by: string | null
  }
  agents: {
    id: string
    user_id: string
    name: string
    description: string | null
    is_default: number
    /** JSON of AgentConfigPatch: what is set, not the defaults. */
    config: string
    /** A number of its own on the host, given once. */
    host_uid: number
    /** JSON of the deploy steps. */
    deploy: string
    /** Text of MEMORY.md, refreshed after a run that used the sandbox or a file write. */
    memory: string
    /** Goes up with each change that makes sessions take a new prompt snapshot. */
    prompt_version: number
    created_at: number
    last_active_at: number | null
  }
  templates: {
    scope: "platform" | "user" | "agent"
    /** "" for the platform, else the user's or agent's id. */
    owner_id: string
    user_id: string | null
    name: string
    text: string
    updated_at: number
  }
  secrets: {
    user_id: string
    key: string
    sealed: Uint8Array
    /** JSON of agent ids; null: every agent. */
    agents: string | null
    masked: number
    updated_at: number
  }
  skills: {
    id: string
    user_id: string
    slug: string
    /** JSON: what a prompt needs of it, and the provenance. */
    info: string
    /** JSON: the bundle's files with their sizes and hashes; long, so that only those who show them read them. */
    files: string
    size_bytes: number
    updated_at: number
  }
  sessions: {
    id: string
    user_id: string
    agent_id: string
    name: string
    title: string
    message_count: number
    last_seq: number
    /** JSON of the frozen prompt parts; null before the first run. */
    snapshot: string | null
    snapshot_key: string | null
    snapshot_at: number
    /** The provider's own count of input tokens at the last call. */
    last_input_tokens: number | null
    created_at: number
    updated_at: number
  }
  messages: {
    id: string
    user_id: string
    session_id: string
    seq: number
    role: "user" | "assistant" | "tool" | "summary"
    /** JSON of a TranscriptMessage. */
    content: string
    run_id: string | null
    size_bytes: number
    created_at: number
  }
  runs: {
    id: string
    user_id: string
    agent_id: string
    session_id: string | null
    session_name: string | null
    state: "queued" | "running" | "succeeded" | "failed" | "cancelled"
    /** The boot that runs it; every write of a run is conditional on `epoch`. */
    owner: string
    epoch: number
    lease_until: number
    attempts: number
    model: string
    /** JSON of ChatAnswer, of `{error, code}`; null until the end. */
    result: string | null
    error: string | null
    last_event: number
    created_at: number
    started_at: number | null
    finished_at: number | null
  }
  run_events: { run_id: string; user_id: string; seq: number; type: string; data: string; created_at: number }
  usage_daily: {
    user_id: string
    agent_id: string
    /** As it was last called: an agent that is gone still has its sums. */
    agent_name: string
    model: string
    /** YYYY-MM-DD, UTC. */
    day: string
    input_tokens: number
    output_tokens: number
    cache_read_tokens: number
    cache_write_tokens: number
    cost_nano: number
    /** The part of it that the platform's own keys paid. */
    platform_cost_nano: number
    runs: number
    estimated_calls: number
  }
  reservations: {
    id: string
    user_id: string
    run_id: string
    owner: string
    tokens: number
    cost_nano: number
    platform_cost_nano: number
    created_at: number
    /** JSON: what is booked when the server that should settle it died. */
    if_lost: string | null
  }
  attachments: { user_id: string; hash: string; size_bytes: number; created_at: number }
  logs: {
    id: Generated<number>
    user_id: string | null
    agent_id: string | null
    agent_name: string | null
    run_id: string | null
    level: "debug" | "info" | "warn" | "error"
    source: "sandbox" | "agent" | "platform"
    message: string
    created_at: number
  }
  idempotency: {
    /** SHA-256 of caller, method, path and key. */
    id: string
    user_id: string | null
    body_hash: string
    /** Boot that is answering it; null once answered. */
    owner: string | null
    status: number | null
    sealed: Uint8Array | null
    run_id: string | null
    created_at: number
  }
  audit: {
    id: string
    user_id: string | null
    actor: string
    action: string
    target: string
    ip: string | null
    request_id: string
    created_at: number
  }
}

/** `gateway`: the hour's token of `connect`. `cookie`: a dashboard sign-in. `link`: a one-time sign-in link. */
export type KeyKind = "admin" | "user" | "agent" | "gateway" | "cookie" | "link"
