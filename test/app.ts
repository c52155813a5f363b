import assert from "node:assert/strict"
import { randomBytes } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ENDPOINTS } from "@autonomis/contract/endpoints.ts"
import { type App, createApp } from "../server/src/app.ts"
import { readConfig } from "../server/src/config.ts"
import type { Database } from "../server/src/db/database.ts"
import { BASE_PATH, pathTable } from "../server/src/http/paths.ts"
import { errorStatuses } from "../server/src/http/reference/statuses.ts"
import { newKey } from "../server/src/keys/format.ts"
import type { Clock } from "../server/src/lib/clock.ts"
import { jsonLogger, silentLogger } from "../server/src/lib/log.ts"

export interface AppAnswer {
  status: number
  headers: Headers
  text: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  body: any
}
export interface AppCall {
  /** The administrator's unless told; null: none. */
  key?: string | null
  /** An object is sent as JSON, text and bytes as they are. */
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal
}

/** The whole app in this process, listening on a port of its own, every answer compared with the contract. */
export interface TestApp extends AsyncDisposable {
  readonly app: App
  readonly url: string
  readonly adminKey: string
  readonly dataDir: string
  /** A path below `/api/v1`, or with `//` at the front one at the root. */
  call(method: string, path: string, options?: AppCall): Promise<AppAnswer>
  /** What the platform logged as warnings and errors. */
  readonly complaints: string[]
}

export interface AppSetup {
  env?: Record<string, string>
  clock?: Clock
  masterKey?: Uint8Array
  adminKey?: string
  accessLog?: (lines: string) => void
  /** An existing one is not removed. */
  dataDir?: string
  /** Each call comes from another address, so that many wrong keys are not held to be an attack. */
  manyAddresses?: boolean
}

export async function startApp(db: Database, setup: AppSetup = {}): Promise<TestApp> {
  const dataDir = setup.dataDir ?? mkdtempSync(join(tmpdir(), "autonomis-app-"))
  const env: Record<string, string> = {
    ...{ AUTONOMIS_DATA_DIR: dataDir, AUTONOMIS_SANDBOX: "none", AUTONOMIS_WORKERS: "1" },
    // Tests ask no registry but their own.
    ...{ AUTONOMIS_CLAWHUB_URL: "http://127.0.0.1:9", ...setup.env },
    ...(setup.manyAddresses ? { AUTONOMIS_TRUSTED_PROXIES: "127.0.0.1" } : {}),
  }
  let calls = 0
  const { config, secrets } = readConfig(env, dataDir)
  const adminKey = setup.adminKey ?? newKey("admin")
  const clock = setup.clock ?? { now: () => Date.now() }
  const complaints: string[] = []
  const log = { ...silentLogger, ...pick(jsonLogger((line) => complaints.push(line), clock.now, "warn")) }
  let url = "http://127.0.0.1"
  const app = await createApp({
    ...{ config, adminKey, db, clock, log },
    providers: secrets.providers,
    masterKey: setup.masterKey ?? randomBytes(32),
    publicUrl: () => config.publicUrl ?? url,
    checkAnswers: true,
    ...(setup.accessLog ? { accessLog: setup.accessLog } : {}),
  })
  url = await app.server.listen({ host: "127.0.0.1", port: 0 })
  app.start()
  return {
    ...{ app, url, adminKey, dataDir, complaints },
    async call(method, path, { key = adminKey, body, headers = {}, signal } = {}) {
      const isBytes = typeof body === "string" || body instanceof Uint8Array
      const sent = new Headers(body === undefined ? {} : { "Content-Type": "application/json" })
      if (key !== null) sent.set("X-API-Key", key)
      if (setup.manyAddresses) sent.set("X-Forwarded-For", `198.51.${(++calls >> 8) & 255}.${calls & 255}`)
      for (const [name, value] of Object.entries(headers)) sent.set(name, value)
      const response = await fetch(url + (path.startsWith("//") ? path.slice(1) : `/api/v1${path}`), {
        method,
        headers: sent,
        body: body === undefined ? null : isBytes ? Buffer.from(body) : JSON.stringify(body),
        ...(signal ? { signal } : {}),
      })
      const text = await response.text()
      checkStatus(method, path, response.status)
      const isJson = response.headers.get("content-type")?.startsWith("application/json") && text !== ""
      return { status: response.status, headers: response.headers, text, body: isJson ? JSON.parse(text) : null }
    },
    async [Symbol.asyncDispose]() {
      app.drain()
      await app[Symbol.asyncDispose]()
      if (setup.dataDir === undefined) rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

const endpointsAt = pathTable(ENDPOINTS)

/** Whatever a test does: a status that the reference does not name for an endpoint is a fault of one of the two. */
function checkStatus(method: string, path: string, status: number): void {
  const [full = ""] = (path.startsWith("//") ? path.slice(1) : BASE_PATH + path).split("?", 1)
  const [endpoint] = endpointsAt(full).filter((one) => one.method === (method === "HEAD" ? "GET" : method))
  if (endpoint === undefined || endpoint.statuses.includes(status)) return
  // A read that has not changed, a server that stops, and a head so long that no endpoint is looked for.
  if (status === 431 || status === 503 || (status === 304 && endpoint.method === "GET")) return
  assert.ok(errorStatuses(endpoint).has(status), `${endpoint.id} answered ${status}, which its reference does not name`)
}

const pick = ({ warn, error }: ReturnType<typeof jsonLogger>) => ({ warn, error })
