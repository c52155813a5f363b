import assert from "node:assert/strict"
import { execFileSync, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import type { IncomingHttpHeaders } from "node:http"
import { request as httpsRequest } from "node:https"
import { createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { startOpenAiDouble } from "../test/doubles/openai.ts"
import { ROOT, startServer } from "../test/server.ts"
import { until } from "../test/until.ts"

/**
 * By hand, where nginx and caddy are installed: `node scripts/check-proxies.ts`. Runs the configurations of
 * docs/operate.md, on loopback and with a certificate of their own, before a real server, and looks at what a proxy can
 * spoil.
 */
type Proxy = "nginx" | "caddy"

interface Answer {
  status: number
  headers: IncomingHttpHeaders
  text: string
}
interface Ask {
  key?: string
  body?: unknown
  headers?: Record<string, string>
  signal?: AbortSignal
  onText?: (text: string) => void
}

/** The client's own address, so that the proxy's is another one. */
const CLIENT = "127.0.0.2"

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1")
  await new Promise((resolve) => server.once("listening", resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === "object" && address !== null ? address.port : 0
}

/** The configuration as the page shows it, with ports and certificate of this try. */
function configure(proxy: Proxy, folder: string, port: number, upstream: string): string[] {
  const page = readFileSync(join(ROOT, "docs/operate.md"), "utf8")
  const shown = new RegExp(`\`\`\`${proxy === "caddy" ? "caddyfile" : "nginx"}\n([^]*?)\`\`\``).exec(page)?.[1] ?? ""
  const block = shown.replace("127.0.0.1:8800", upstream)
  const file = join(folder, "config")
  if (proxy === "caddy") {
    const site = `https://localhost:${port} {\n\tbind 127.0.0.1\n\ttls ${folder}/cert.pem ${folder}/key.pem`
    const global = `{\n\tadmin off\n\tauto_https disable_redirects\n\tstorage file_system ${folder}/store\n}\n`
    writeFileSync(file, global + block.replace("agents.example.com {", site))
    return ["caddy", "run", "--config", file, "--adapter", "caddyfile"]
  }
  const site = block
    .replace("listen 443", `listen 127.0.0.1:${port}`)
    .replace("server_name agents.example.com", "server_name localhost")
    .replace("/etc/ssl/agents.example.com.pem", `${folder}/cert.pem`)
    .replace("/etc/ssl/agents.example.com.key", `${folder}/key.pem`)
  const temp = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((of) => `${of}_temp_path ${folder}/${of};`)
  const head = `daemon off; pid ${folder}/pid; error_log stderr warn; events {}\n`
  writeFileSync(file, `${head}http { access_log off; ${temp.join(" ")}\n${site}\n}`)
  return ["nginx", "-p", folder, "-c", file]
}

async function check(proxy: Proxy): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "autonomis-proxy-"))
  const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
  const files = ["-keyout", `${folder}/key.pem`, "-out", `${folder}/cert.pem`]
  execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", ...files, ...subject], { stdio: "ignore" })
  const port = await freePort()
  const site = `https://localhost:${port}`
  await using provider = await startOpenAiDouble()
  const platform = { OPENAI_API_KEY: "key-12345678", OPENAI_BASE_URL: `${provider.url}/v1` }
  const settings = { AUTONOMIS_PUBLIC_URL: site, AUTONOMIS_TRUSTED_PROXIES: "127.0.0.1", AUTONOMIS_SANDBOX: "none" }
  await using server = await startServer({ env: { ...platform, ...settings } })
  const [command = "", ...args] = configure(proxy, folder, port, new URL(server.url).host)
  const env = { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
  const child = spawn(command, args, { stdio: ["ignore", "ignore", "inherit"], env })
  const ca = readFileSync(`${folder}/cert.pem`)

  const call = (method: string, path: string, ask: Ask = {}) =>
    new Promise<Answer>((resolve, reject) => {
      const { key = server.adminKey, body, headers = {}, signal, onText } = ask
      const sent = body === undefined || Buffer.isBuffer(body) ? body : JSON.stringify(body)
      const length = sent === undefined ? {} : { "Content-Length": Buffer.byteLength(sent) }
      const type = Buffer.isBuffer(body) || body === undefined ? {} : { "Content-Type": "application/json" }
      const request = httpsRequest(
        {
          ...{ host: "localhost", family: 4, port, ca, method, path: `/api/v1${path}`, localAddress: CLIENT },
          ...(signal ? { signal } : {}),
          ...{ agent: false, headers: { ...(key === "" ? {} : { "X-API-Key": key }), ...length, ...type, ...headers } },
        },
        (response) => {
          let text = ""
          response.on("data", (chunk) => {
            text += chunk
            onText?.(text)
          })
          const done = () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text })
          response.on("end", done).on("error", done)
        },
      )
      request.on("error", reject)
      request.end(sent)
    })
  const isIdle = async () => (await server.call("GET", "/status")).body.runs === 0
  const M = "/users/ada/agents/manager"
  const says = (content: string) => ({ messages: [{ role: "user", content }], resume_seconds: 0 })
  /** Leaves once something holds. */
  const leaving = async (path: string, when: (seen: string) => boolean) => {
    let seen = ""
    const gone = new AbortController()
    const answer = call("POST", path, {
      body: says("hello"),
      signal: gone.signal,
      onText: (text) => (seen = text),
    }).catch(() => null)
    await until(() => when(seen), `${path} to be under way`)
    gone.abort()
    await answer
    await until(isIdle, `the run of ${path} to end with its client`)
  }

  try {
    await until(
      () =>
        call("GET", "/health").then(
          ({ status }) => status === 200,
          () => false,
        ),
      "the proxy",
    )
    const claims = { "X-Forwarded-For": "203.0.113.9" }
    const made = await call("POST", "/users", { body: { user: "ada", tier: "pro" }, headers: claims })
    assert.ok(made.headers["strict-transport-security"])
    const [entry] = JSON.parse((await call("GET", "/audit")).text).entries
    assert.equal(entry.ip, CLIENT, "the audit knows the client's own address, whatever it claims")
    await call("POST", "/users/ada/agents", { body: { name: "manager", model: "openai/gpt-5.4" } })

    provider.script([{ text: "first second", hang: "body" }, { hang: "headers" }])
    await leaving(`${M}/chat/stream`, (seen) => seen.includes("event: message.delta"))
    await leaving(`${M}/chat`, () => provider.requests.length === 2)

    const upload = (name: string, bytes: number) => call("PUT", `${M}/files/${name}`, { body: Buffer.alloc(bytes, 7) })
    assert.equal((await upload("largest", 25 << 20)).status, 201)
    assert.equal((await upload("larger", (25 << 20) + 1)).status, 413)
    assert.equal((await call("GET", `${M}/files/a%2fb`)).status, 400, "a path reaches the server as it was sent")

    const signIn = await call("POST", "/session", { key: "", body: { api_key: JSON.parse(made.text).api_key } })
    const cookie = signIn.headers["set-cookie"]?.[0] ?? ""
    assert.match(cookie, /^__Host-autonomis=.*; Secure/)
    const write = (Origin: string, name: string) =>
      call("POST", "/users/ada/agents", {
        ...{ key: "", body: { name } },
        headers: { Cookie: cookie.split(";", 1)[0] ?? "", Origin },
      })
    assert.equal((await write(site, "second")).status, 201)
    assert.equal((await write("https://elsewhere.example", "third")).status, 403)
    const base = JSON.parse((await call("GET", `${M}/connect`)).text).base_url
    assert.equal(base, `${site}/gateway/ada/manager/v1`)
  } finally {
    child.kill("SIGTERM")
    rmSync(folder, { recursive: true, force: true })
  }
}

for (const proxy of ["nginx", "caddy"] as const) {
  await check(proxy)
  process.stdout.write(`${proxy}: as it should be\n`)
}
