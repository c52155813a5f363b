/** Chunks as one piece. Kept as they came, of a byte each, they would take two hundred times the memory. */
export interface Gathered {
  add(chunk: Buffer): void
  readonly size: number
  whole(): Buffer
}

export function createGathered(): Gathered {
  // Most bodies are one chunk, which is not copied.
  let bytes: Buffer = Buffer.alloc(0)
  let size = 0
  return {
    add(chunk) {
      if (size === 0) bytes = chunk
      else {
        if (size + chunk.length > bytes.length) {
          const larger = Buffer.allocUnsafeSlow(2 * (size + chunk.length))
          larger.set(bytes.subarray(0, size))
          bytes = larger
        }
        bytes.set(chunk, size)
      }
      size += chunk.length
    },
    get size() {
      return size
    },
    whole: () => bytes.subarray(0, size),
  }
}
