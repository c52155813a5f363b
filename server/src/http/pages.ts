import { randomBytes } from "node:crypto"
import { readFile } from "node:fs/promises"
import { dirname } from "node:path"
import { fileURLToPath } from "node:url"
import type { Endpoint } from "@autonomis/contract/endpoint.ts"
import type { FastifyReply, FastifyRequest } from "fastify"
import { AppError } from "../lib/errors.ts"
import { BASE_PATH, pathOf } from "./paths.ts"
import { sendAnswer } from "./send.ts"
import { createStaticSender, readStatic, type StaticFiles } from "./static.ts"

export interface PagesOptions {
  /** What the reference describes. */
  endpoints: readonly Endpoint[]
  version: string
  publicUrl(): string
  /** The dashboard's build; may be missing. */
  dashboardDir: string | null
}

/** Answers what is no endpoint: true when it did. */
export type Pages = (request: FastifyRequest, reply: FastifyReply) => Promise<boolean>

const REFERENCE = `${BASE_PATH}/openapi.json`
const UI_FILES = ["swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"]

const DOCS_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
/** Scripts come from this server alone; styles too, and those style elements that the page makes with its nonce. */
const dashboardPolicy = (nonce: string): string =>
  `default-src 'none'; script-src 'self'; style-src 'self' 'nonce-${nonce}'; img-src 'self' blob: data:; font-src 'self'; ` +
  "media-src 'self' blob:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
/** Stands in the built page where the nonce goes. */
const NONCE_PLACE = "__STYLE_NONCE__"

const DOCS_PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Autonomis API</title>
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="icon" href="/docs/favicon-32x32.png">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
`
const DOCS_START = `SwaggerUIBundle({ url: ${JSON.stringify(REFERENCE)}, dom_id: "#docs", deepLinking: true, validatorUrl: null, tryItOutEnabled: true, persistAuthorization: false })\n`

/** The reference, its page, and the dashboard. None needs a key. */
export function createPages(options: PagesOptions): Pages {
  const sender = createStaticSender()
  let uiFiles: Promise<StaticFiles> | null = null
  let dashboard: StaticFiles = new Map()
  let indexText: string | null = null
  const reference = createReference(options)

  async function docs(path: string, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
    reply.header("Content-Security-Policy", DOCS_POLICY)
    reply.header("Referrer-Policy", "no-referrer")
    const text = (type: string, body: string) => {
      const headers = { "Content-Type": `${type}; charset=utf-8`, "Cache-Control": "no-cache" }
      return sendAnswer({ status: 200, headers, body }, request, reply)
    }
    if (path === "/docs" || path === "/docs/") await text("text/html", DOCS_PAGE)
    else if (path === "/docs/start.js") await text("text/javascript", DOCS_START)
    else {
      uiFiles ??= readStatic(uiFolder(), (name) => UI_FILES.includes(name))
      const file = (await uiFiles).get(path.slice("/docs/".length))
      if (file === undefined) return false
      await sender.send(file, false, request, reply)
    }
    return true
  }

  async function page(path: string, request: FastifyRequest, reply: FastifyReply): Promise<boolean> {
    const { dashboardDir } = options
    if (dashboardDir === null || path.startsWith("/api/") || path.startsWith("/gateway/")) return false
    if (dashboard.size === 0) dashboard = await readStatic(dashboardDir)
    const wanted = path.slice(1)
    const file = wanted === "index.html" ? undefined : dashboard.get(wanted)
    reply.header("Referrer-Policy", "no-referrer")
    if (file !== undefined) {
      reply.header("Content-Security-Policy", DOCS_POLICY)
      await sender.send(file, wanted.startsWith("assets/"), request, reply)
      return true
    }
    // Any other address is a page that the dashboard finds by itself; a file that is missing is missing.
    const isPage = wanted === "index.html" || !(/\.\w+$/.test(path) || path.startsWith("/assets/"))
    const index = dashboard.get("index.html")
    if (!isPage || index === undefined) return false
    indexText ??= await readFile(index.file, "utf8")
    const nonce = randomBytes(16).toString("base64url")
    const headers = {
      "Content-Type": index.type,
      "Cache-Control": "no-store",
      "Content-Security-Policy": dashboardPolicy(nonce),
      "Cross-Origin-Opener-Policy": "same-origin",
    }
    reply.headers(headers)
    reply.send(indexText.replaceAll(NONCE_PLACE, nonce))
    return true
  }

  return async (request, reply) => {
    const path = pathOf(request.raw.url ?? "/")
    const isDocs = path === "/docs" || path.startsWith("/docs/")
    const isOurs = path === REFERENCE || isDocs
    if (request.method !== "GET" && request.method !== "HEAD") {
      if (!isOurs) return false
      reply.header("Allow", "GET, HEAD, OPTIONS")
      if (request.method !== "OPTIONS") throw new AppError("method_not_allowed", "this path takes GET, HEAD, OPTIONS")
      reply.code(204).send()
      return true
    }
    if (path === REFERENCE) {
      await sendAnswer({ status: 200, headers: {}, body: await reference() }, request, reply)
      return true
    }
    return isDocs ? await docs(path, request, reply) : await page(path, request, reply)
  }
}

const uiFolder = (): string => dirname(fileURLToPath(import.meta.resolve("swagger-ui-dist/package.json")))

/** Made when it is first asked for, so that the start does not pay for it. */
function createReference({ endpoints, version, publicUrl }: PagesOptions): () => Promise<string> {
  let made: { url: string; text: string } | null = null
  return async () => {
    const url = publicUrl()
    if (made?.url !== url) {
      const { makeOpenApi } = await import("./reference/openapi.ts")
      made = { url, text: JSON.stringify(makeOpenApi(endpoints, url, version)) }
    }
    return made.text
  }
}
