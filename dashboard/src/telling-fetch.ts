/**
 * A `fetch` for bodies whose sending is worth watching, of which `fetch` itself does not tell. The answer's body comes
 * as it is received.
 */
export function tellingFetch(onSent: (bytes: number, total: number) => void): typeof fetch {
  return (input, init = {}) => {
    const { promise, resolve, reject } = Promise.withResolvers<Response>()
    const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>()
    const answer = writable.getWriter()
    const request = new XMLHttpRequest()
    let read = 0
    const handOn = () => {
      const text = request.responseText.slice(read)
      read += text.length
      // Who reads no further is told nothing more.
      if (text !== "") answer.write(new TextEncoder().encode(text)).catch(() => undefined)
    }
    const broken = () => {
      const error = init.signal?.aborted ? init.signal.reason : new TypeError("the request failed")
      reject(error)
      answer.abort(error).catch(() => undefined)
    }
    request.open(init.method ?? "GET", input instanceof Request ? input.url : input)
    for (const [name, value] of new Headers(init.headers)) request.setRequestHeader(name, value)
    request.upload.onprogress = (event) => onSent(event.loaded, event.total)
    request.onreadystatechange = () => {
      const { status, readyState } = request
      if (readyState !== XMLHttpRequest.HEADERS_RECEIVED || status === 0) return
      const body = status === 204 || status === 304 ? null : readable
      resolve(new Response(body, { status, headers: headersOf(request) }))
    }
    request.onprogress = handOn
    request.onload = () => {
      handOn()
      answer.close().catch(() => undefined)
    }
    request.onerror = broken
    request.onabort = broken
    init.signal?.addEventListener("abort", () => request.abort(), { once: true })
    request.send(init.body instanceof ReadableStream ? null : (init.body ?? null))
    return promise
  }
}

function headersOf(request: XMLHttpRequest): Headers {
  const headers = new Headers()
  for (const line of request.getAllResponseHeaders().trim().split(/\r?\n/)) {
    const colon = line.indexOf(":")
    if (colon > 0) headers.append(line.slice(0, colon), line.slice(colon + 1).trim())
  }
  return headers
}
