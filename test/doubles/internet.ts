import { execFile } from "node:child_process"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http"
import { createServer as createTls } from "node:https"
import { tmpdir } from "node:os"
import { join, normalize } from "node:path"
import { promisify } from "node:util"
import { makeZip } from "../zip.ts"

const run = promisify(execFile)

/** An internet of one machine: names, a web server with and without TLS, and on it what git, npm and pip fetch. */
export interface Internet extends AsyncDisposable {
  /** The certificate that its servers show, in PEM. */
  readonly certificate: string
  /** `host method path` of every request. */
  readonly asked: string[]
}

/**
 * `names`: who is found where; `hosts`: who answers for some of them. Only in a network of the test's own: it takes the
 * ports 53, 80, 443 and 8443.
 */
export async function startInternet(
  names: Record<string, string>,
  hosts: Record<string, RequestListener> = {},
): Promise<Internet> {
  const folder = mkdtempSync(join(tmpdir(), "autonomis-internet-"))
  const { key, cert } = await makeCertificate(folder, Object.keys(names))
  await makeRepository(folder)
  await makePackage(folder)
  const asked: string[] = []
  const answer: RequestListener = (request, response) => {
    const host = request.headers.host?.replace(/:\d+$/, "") ?? ""
    asked.push(`${host} ${request.method} ${request.url}`)
    const own = hosts[host]
    if (own) own(request, response)
    else serve(request, response, host, folder)
  }
  const servers = [
    createServer(answer).listen(80),
    createServer(answer).listen(8443),
    createTls({ key, cert }, answer).listen(443),
  ]
  await Promise.all(servers.map((server) => once(server, "listening")))
  const dns = createSocket("udp4").bind(53, "127.0.0.1")
  dns.on("message", (question, { port, address }) => dns.send(nameAnswer(question, names), port, address))
  await once(dns, "listening")
  return {
    certificate: cert,
    asked,
    async [Symbol.asyncDispose]() {
      dns.close()
      for (const server of servers) {
        server.closeAllConnections()
        server.close()
      }
      rmSync(folder, { recursive: true })
    },
  }
}

const WHEEL = "tiny_wheel-1.0-py3-none-any.whl"

function serve(request: IncomingMessage, response: ServerResponse, host: string, folder: string): void {
  const path = new URL(request.url ?? "/", "http://x").pathname
  if (path.startsWith("/repo.git/") || path === "/tiny-npm.tgz") {
    const file = createReadStream(join(folder, normalize(path)))
    file.once("error", () => response.writeHead(404).end())
    file.pipe(response)
  } else if (path === "/tiny-npm") {
    const version = { name: "tiny-npm", version: "1.0.0", dist: { tarball: `https://${host}/tiny-npm.tgz` } }
    response.setHeader("content-type", "application/json")
    response.end(JSON.stringify({ name: "tiny-npm", "dist-tags": { latest: "1.0.0" }, versions: { "1.0.0": version } }))
  } else if (path === "/simple/tiny-wheel/") {
    response.setHeader("content-type", "text/html")
    response.end(`<a href="/${WHEEL}">${WHEEL}</a>`)
  } else if (path === `/${WHEEL}`) response.end(wheel())
  else if (path === "/metadata") response.writeHead(302, { location: "http://169.254.169.254/latest" }).end()
  else response.end(`this is ${host}${path}`)
}

async function makeCertificate(folder: string, names: string[]): Promise<{ key: string; cert: string }> {
  const [key, cert] = [join(folder, "key.pem"), join(folder, "cert.pem")]
  await run("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=x"],
    ...["-addext", `subjectAltName=${names.map((name) => `DNS:${name}`).join()}`],
    ...["-addext", "keyUsage=critical,digitalSignature,keyCertSign"],
  ])
  return { key: readFileSync(key, "utf8"), cert: readFileSync(cert, "utf8") }
}

/** A bare repository with one commit, ready to be fetched as plain files. */
async function makeRepository(folder: string): Promise<void> {
  const work = join(folder, "work")
  const git = (...args: string[]) =>
    run("git", ["-c", "user.name=t", "-c", "user.email=t@t.test", "-c", "init.defaultBranch=main", ...args])
  await git("init", "-q", work)
  writeFileSync(join(work, "hello.txt"), "from git\n")
  await git("-C", work, "add", ".")
  await git("-C", work, "commit", "-q", "-m", "x")
  await git("clone", "-q", "--bare", work, join(folder, "repo.git"))
  await git("-C", join(folder, "repo.git"), "update-server-info")
}

async function makePackage(folder: string): Promise<void> {
  mkdirSync(join(folder, "package"))
  writeFileSync(join(folder, "package/package.json"), JSON.stringify({ name: "tiny-npm", version: "1.0.0" }))
  writeFileSync(join(folder, "package/index.js"), "module.exports = 'from npm'\n")
  await run("tar", ["-C", folder, "-czf", join(folder, "tiny-npm.tgz"), "package"])
}

function wheel(): Buffer {
  const info = "tiny_wheel-1.0.dist-info"
  return makeZip([
    { name: "tiny_wheel.py", data: "word = 'from pip'\n" },
    { name: `${info}/METADATA`, data: "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n" },
    { name: `${info}/WHEEL`, data: "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n" },
    { name: `${info}/RECORD`, data: `tiny_wheel.py,,\n${info}/METADATA,,\n${info}/WHEEL,,\n${info}/RECORD,,\n` },
  ])
}

/** An answer with the one A record, with none for other types, or that there is no such name. */
function nameAnswer(question: Buffer, names: Record<string, string>): Buffer {
  const labels: string[] = []
  let at = 12
  for (let length = question[at] ?? 0; length > 0; length = question[at] ?? 0) {
    labels.push(question.toString("latin1", at + 1, at + 1 + length))
    at += length + 1
  }
  const address = names[labels.join(".").toLowerCase()]
  const isA = question.readUInt16BE(at + 1) === 1
  const header = Buffer.from(question.subarray(0, 12))
  header.writeUInt16BE(address === undefined ? 0x8583 : 0x8580, 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(address !== undefined && isA ? 1 : 0, 6)
  header.writeUInt32BE(0, 8)
  const record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...(address ?? "").split(".").map(Number)]
  const asked = question.subarray(12, at + 5)
  return Buffer.concat([header, asked, Buffer.from(address !== undefined && isA ? record : [])])
}
