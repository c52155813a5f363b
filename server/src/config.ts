import { readFileSync } from "node:fs"
import { BlockList, isIP } from "node:net"
import { resolve } from "node:path"
import { Plans } from "@autonomis/contract/plans.ts"
import { StartError } from "./lib/start-error.ts"
import { ENVIRONMENT_TO_DELETE, findProvider, PROVIDER_VARIABLES, PROVIDERS, splitModel } from "./runtime/providers.ts"

/** Every setting, checked. Holds nothing secret, so it may be logged. */
export interface Config {
  host: string
  /** 0: any free port. */
  port: number
  /** Without a slash at the end. Null: made from host and port once the port is known. */
  publicUrl: string | null
  /** Networks (`10.0.0.0/8`) or addresses whose `X-Forwarded-For` counts. */
  trustedProxies: string[]
  /** Origins that browsers may call the API from. */
  corsOrigins: string[]
  /** Absolute. */
  dataDir: string
  database: "sqlite" | "postgres"
  sandbox: "bubblewrap" | "docker" | "none"
  /** The path of the Docker daemon's unix socket. */
  dockerSocket: string
  /** A guest that has done nothing for this long is closed. */
  sandboxIdleMs: number
  /** Ports that sandboxes with a network may reach beside 80 and 443. */
  egressPorts: number[]
  /** Free space and inodes under which commands are held and files refused. Null: the smaller of 2 GiB and 5 %. */
  diskReserve: { bytes: number; share: number } | null
  /** How a user's workspaces are held to their limit. Null: the best that the host allows. */
  diskQuota: "image" | "watch" | null
  /** Guests open at once, of all users. Null: by the machine's memory. */
  sandboxMaxOpen: number | null
  /** Runtime threads. Null: one fewer than the cores. */
  workers: number | null
  /** `provider/model`. Null: the first provider with a key, else the demo model. */
  defaultModel: string | null
  demo: boolean
  /** Hard, for the platform's own keys. Null: no ceiling. */
  platformUsdPerDay: number | null
  clawhubUrl: string
  /** Null: the built-in plans. */
  plans: Plans | null
  /** Write a line for every answer to the server's log. */
  accessLog: boolean
  /** How long log rows are kept. */
  logDays: number
  /** How much of its log each account keeps. */
  logMib: number
}

/** Kept apart from the settings: never logged, never in the environment of anything that the server starts. */
export interface Secrets {
  /** Null: made at the first start and kept in the data folder. */
  adminKey: string | null
  /** 32 bytes. Null: as the admin key. */
  masterKey: Uint8Array | null
  databaseUrl: string | null
  /** The platform's provider keys and base URLs, by the variables' names. */
  providers: Readonly<Record<string, string>>
}

type Environment = Record<string, string | undefined>

const SETTINGS = [
  "HOST PORT PUBLIC_URL TRUSTED_PROXIES CORS_ORIGINS DATA_DIR ADMIN_KEY MASTER_KEY SANDBOX SANDBOX_IDLE_SECONDS",
  "SANDBOX_MAX_OPEN WORKERS DEFAULT_MODEL DEMO PLATFORM_USD_PER_DAY CLAWHUB_URL PLANS_FILE LOG_DAYS LOG_MIB ACCESS_LOG",
  "EGRESS_PORTS DISK_QUOTA DISK_RESERVE",
]
const KNOWN = new Set(SETTINGS.flatMap((line) => line.split(" ")).map((name) => `AUTONOMIS_${name}`))

const MASTER_KEY_BYTES = 32
const ADMIN_KEY_MIN = 16

/**
 * Reads the environment, and takes what is secret out of it: from then on neither a library nor a child process can
 * pick up a key that was not handed to it. Relative paths are those of `cwd`.
 */
export function readConfig(env: Environment, cwd: string): { config: Config; secrets: Secrets } {
  for (const name of Object.keys(env)) {
    if (!name.startsWith("AUTONOMIS_") || KNOWN.has(name) || !env[name]) continue
    throw new StartError(`${name} is not a setting of Autonomis${suggestion(name)}`)
  }
  const secrets = readSecrets(env)
  const config = readSettings(env, cwd, secrets)
  for (const name of [...ENVIRONMENT_TO_DELETE, "AUTONOMIS_ADMIN_KEY", "AUTONOMIS_MASTER_KEY", "DATABASE_URL"]) {
    delete env[name]
  }
  return { config, secrets }
}

function readSecrets(env: Environment): Secrets {
  const providers: Record<string, string> = {}
  for (const name of PROVIDER_VARIABLES) {
    const value = text(env, name)
    if (value !== null) providers[name] = value
  }
  for (const { baseUrlVariable: name } of PROVIDERS) {
    if (name !== null && providers[name] !== undefined) webAddress(env, name)
  }
  return {
    adminKey: adminKey(env),
    masterKey: masterKey(env),
    databaseUrl: databaseUrl(env),
    providers,
  }
}

function readSettings(env: Environment, cwd: string, secrets: Secrets): Config {
  const host = text(env, "AUTONOMIS_HOST") ?? "127.0.0.1"
  const publicUrl = origin(env, "AUTONOMIS_PUBLIC_URL")
  if (publicUrl === null && !isLoopback(host)) {
    throw new StartError(`AUTONOMIS_HOST is ${host}, which others can reach, so AUTONOMIS_PUBLIC_URL must be set.`)
  }
  const demo = (choice(env, "AUTONOMIS_DEMO", ["on", "off"]) ?? "on") === "on"
  return {
    host,
    port: whole(env, "AUTONOMIS_PORT", 0, 65_535) ?? 8800,
    publicUrl,
    trustedProxies: list(env, "AUTONOMIS_TRUSTED_PROXIES").map(network),
    corsOrigins: list(env, "AUTONOMIS_CORS_ORIGINS").map((value) => asOrigin("AUTONOMIS_CORS_ORIGINS", value)),
    dataDir: resolve(cwd, text(env, "AUTONOMIS_DATA_DIR") ?? "data"),
    database: secrets.databaseUrl === null ? "sqlite" : "postgres",
    sandbox: sandbox(env),
    dockerSocket: sandbox(env) === "docker" ? dockerSocket(env) : DOCKER_SOCKET,
    sandboxIdleMs: 1000 * (whole(env, "AUTONOMIS_SANDBOX_IDLE_SECONDS", 1, 86_400) ?? 300),
    egressPorts: list(env, "AUTONOMIS_EGRESS_PORTS").map(port),
    diskReserve: diskReserve(env),
    diskQuota: diskQuota(env),
    sandboxMaxOpen: whole(env, "AUTONOMIS_SANDBOX_MAX_OPEN", 1, 10_000),
    workers: whole(env, "AUTONOMIS_WORKERS", 1, 64),
    defaultModel: defaultModel(env, demo),
    demo,
    platformUsdPerDay: amount(env, "AUTONOMIS_PLATFORM_USD_PER_DAY"),
    clawhubUrl: webAddress(env, "AUTONOMIS_CLAWHUB_URL") ?? "https://clawhub.ai",
    plans: plansFile(env, cwd),
    accessLog: (choice(env, "AUTONOMIS_ACCESS_LOG", ["on", "off"]) ?? "on") === "on",
    logDays: whole(env, "AUTONOMIS_LOG_DAYS", 1, 3650) ?? 30,
    logMib: whole(env, "AUTONOMIS_LOG_MIB", 1, 4096) ?? 16,
  }
}

/** An empty variable counts as unset. */
function text(env: Environment, name: string): string | null {
  const value = env[name]?.trim()
  return value ? value : null
}

function list(env: Environment, name: string): string[] {
  const parts = text(env, name)?.split(",") ?? []
  return parts.map((part) => part.trim()).filter((part) => part !== "")
}

function whole(env: Environment, name: string, least: number, most: number): number | null {
  const value = text(env, name)
  if (value === null) return null
  const number = Number(value)
  if (/^\d{1,9}$/.test(value) && number >= least && number <= most) return number
  throw new StartError(`${name} must be a whole number from ${least} to ${most}, not "${value}".`)
}

function amount(env: Environment, name: string): number | null {
  const value = text(env, name)
  if (value === null) return null
  if (/^\d{1,9}(\.\d{1,9})?$/.test(value)) return Number(value)
  throw new StartError(`${name} must be an amount in USD, e.g. 25 or 2.5, not "${value}".`)
}

function choice<T extends string>(env: Environment, name: string, choices: readonly T[]): T | null {
  const value = text(env, name)
  if (value === null) return null
  const found = choices.find((one) => one === value)
  if (found !== undefined) return found
  throw new StartError(`${name} must be ${choices.map((c) => `"${c}"`).join(" or ")}, not "${value}".`)
}

function sandbox(env: Environment): Config["sandbox"] {
  const name = "AUTONOMIS_SANDBOX"
  const value = choice(env, name, ["bubblewrap", "none", "docker", "kubernetes"])
  if (value !== "kubernetes") return value ?? "bubblewrap"
  throw new StartError(`${name}=${value} is not supported yet; use "bubblewrap", "docker", or "none" for development.`)
}

const DOCKER_SOCKET = "/var/run/docker.sock"

/** Where Docker's own tools find the daemon; only one on this machine can show workspaces to its containers. */
export function dockerSocket(env: Environment): string {
  const value = text(env, "DOCKER_HOST")
  if (value === null) return DOCKER_SOCKET
  if (/^unix:\/\/\/./.test(value)) return value.slice("unix://".length)
  throw new StartError(`DOCKER_HOST must be the unix socket of a daemon on this machine, like unix://${DOCKER_SOCKET}.`)
}

function port(value: string): number {
  const number = Number(value)
  if (/^\d{1,5}$/.test(value) && number >= 1 && number <= 65_535) return number
  throw new StartError(`AUTONOMIS_EGRESS_PORTS must list ports from 1 to 65535, like 8443,22, not "${value}".`)
}

/** A size counts as it is, a share of the disk whatever its size. */
function diskReserve(env: Environment): Config["diskReserve"] {
  const name = "AUTONOMIS_DISK_RESERVE"
  const value = text(env, name)
  if (value === null) return null
  const percent = Number(/^(\d{1,3}(?:\.\d{1,3})?) ?%$/.exec(value)?.[1])
  if (percent > 0 && percent <= 100) return { bytes: Number.MAX_SAFE_INTEGER, share: percent / 100 }
  const size = /^(\d{1,15}(?:\.\d{1,3})?) ?([KMGT])(?:iB)?$/i.exec(value) ?? /^(\d{1,15})$/.exec(value)
  const bytes = Math.round(Number(size?.[1]) * 1024 ** " KMGT".indexOf((size?.[2] ?? " ").toUpperCase()))
  if (bytes > 0) return { bytes: Math.min(bytes, Number.MAX_SAFE_INTEGER), share: 1 }
  throw new StartError(`${name} must be a size or a part of the disk, like 2GiB, 500MiB or 5%, not "${value}".`)
}

function diskQuota(env: Environment): Config["diskQuota"] {
  const name = "AUTONOMIS_DISK_QUOTA"
  const value = choice(env, name, ["image", "watch"])
  if (value !== "image" || sandbox(env) === "bubblewrap") return value
  throw new StartError(`${name}=image needs AUTONOMIS_SANDBOX=bubblewrap.`)
}

function webAddress(env: Environment, name: string): string | null {
  const value = text(env, name)
  if (value === null) return null
  const url = URL.parse(value)
  if (url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.hash) {
    return value.replace(/\/+$/, "")
  }
  throw new StartError(`${name} must be an address like https://example.com/v1.`)
}

function origin(env: Environment, name: string): string | null {
  const value = text(env, name)
  return value === null ? null : asOrigin(name, value)
}

function asOrigin(name: string, value: string): string {
  const url = URL.parse(value)
  const plain = url && /^https?:$/.test(url.protocol) && `${url.origin}/` === url.href
  if (plain) return url.origin
  throw new StartError(`${name} must be an address without a path, like https://agents.example.com, not "${value}".`)
}

function network(value: string): string {
  const [address = "", bits] = value.split("/")
  const family = isIP(address)
  try {
    if (family === 0) throw new Error("not an address")
    if (bits !== undefined && !/^\d{1,3}$/.test(bits)) throw new Error("not a prefix")
    new BlockList().addSubnet(address, Number(bits ?? (family === 4 ? 32 : 128)), family === 4 ? "ipv4" : "ipv6")
    return value
  } catch {
    throw new StartError(`AUTONOMIS_TRUSTED_PROXIES must list networks like 10.0.0.0/8, not "${value}".`)
  }
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."))
}

function adminKey(env: Environment): string | null {
  const value = text(env, "AUTONOMIS_ADMIN_KEY")
  if (value === null || (value.length >= ADMIN_KEY_MIN && /^[\x21-\x7e]{1,200}$/.test(value))) return value
  throw new StartError(
    `AUTONOMIS_ADMIN_KEY must have ${ADMIN_KEY_MIN} to 200 letters, digits or signs, and no spaces; leave it empty to have one made.`,
  )
}

function masterKey(env: Environment): Uint8Array | null {
  const value = text(env, "AUTONOMIS_MASTER_KEY")
  if (value === null) return null
  const bytes = Buffer.from(value, "base64")
  if (bytes.length === MASTER_KEY_BYTES && bytes.toString("base64").replace(/=+$/, "") === value.replace(/=+$/, "")) {
    return bytes
  }
  throw new StartError(
    `AUTONOMIS_MASTER_KEY must be ${MASTER_KEY_BYTES} bytes in base64; make one with "openssl rand -base64 ${MASTER_KEY_BYTES}".`,
  )
}

function databaseUrl(env: Environment): string | null {
  const value = text(env, "DATABASE_URL")
  if (value === null) return null
  const url = URL.parse(value)
  if (url && /^postgres(ql)?:$/.test(url.protocol)) return value
  throw new StartError("DATABASE_URL must be an address like postgres://name:password@host:5432/database.")
}

function defaultModel(env: Environment, demo: boolean): string | null {
  const name = "AUTONOMIS_DEFAULT_MODEL"
  const value = text(env, name)
  if (value === null) return null
  if (value === "demo/demo") {
    if (demo) return value
    throw new StartError(`${name} is demo/demo while AUTONOMIS_DEMO is off; change one of them.`)
  }
  const model = splitModel(value)
  if (model === null) throw new StartError(`${name} must be provider/model, like openai/gpt-5.4, not "${value}".`)
  if (findProvider(model.provider)) return value
  throw new StartError(`${name} names the provider "${model.provider}", which is not known.`)
}

function plansFile(env: Environment, cwd: string): Plans | null {
  const name = "AUTONOMIS_PLANS_FILE"
  const file = text(env, name)
  if (file === null) return null
  let content: unknown
  try {
    content = JSON.parse(readFileSync(resolve(cwd, file), "utf8"))
  } catch (error) {
    throw new StartError(`${name}: ${file} cannot be read as JSON (${error instanceof Error ? error.message : error}).`)
  }
  const parsed = Plans.safeParse(content)
  if (!parsed.success) {
    const issue = parsed.error.issues[0]
    throw new StartError(
      `${name}: ${file} is not as GET /plans answers it: ${issue?.path.join(".")}: ${issue?.message}.`,
    )
  }
  const tiers = parsed.data.plans.map((plan) => plan.tier)
  if (new Set(tiers).size < tiers.length) throw new StartError(`${name}: ${file} names a tier twice.`)
  if (tiers.includes(parsed.data.default)) return parsed.data
  throw new StartError(`${name}: the default tier "${parsed.data.default}" of ${file} is not among its plans.`)
}

/** The one known name that is nearest, if it is near. */
function suggestion(name: string): string {
  const near = [...KNOWN].map((known) => ({ known, steps: distance(name, known) })).sort((a, b) => a.steps - b.steps)[0]
  return near && near.steps <= 3 ? `; did you mean ${near.known}?` : "."
}

/** Levenshtein's distance. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 0; i < a.length; i++) {
    const next = [i + 1]
    for (let j = 0; j < b.length; j++) {
      const change = (row[j] ?? 0) + (a[i] === b[j] ? 0 : 1)
      next.push(Math.min(change, (row[j + 1] ?? 0) + 1, (next[j] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
