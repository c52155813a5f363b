import { createServer } from "node:http"

/** The same JSON by bare node:http: answers what it is given in its environment, after reading the body. */
const answers: Record<string, string> = JSON.parse(process.env.BENCH_ANSWERS ?? "{}")

const server = createServer((request, response) => {
  let body = ""
  request.on("data", (chunk: Buffer) => {
    body += chunk.toString()
  })
  request.on("end", () => {
    if (body !== "") JSON.parse(body)
    // As any handler would, it makes the text anew for each answer.
    const text = JSON.stringify(JSON.parse(answers[request.method ?? "GET"] ?? "{}"))
    response.writeHead(request.method === "POST" ? 201 : 200, {
      "Content-Type": "application/json; charset=utf-8",
      "Content-Length": Buffer.byteLength(text),
    })
    response.end(text)
  })
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  process.stdout.write(`${typeof address === "object" && address !== null ? address.port : 0}\n`)
})
