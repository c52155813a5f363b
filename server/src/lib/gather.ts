/** Chunks as one piece. Kept as they came, of a byte each, they would take two hundred times the memory. */
export interface Gathered {
  add(chunk: Buffer): void
  readonly size: number
  whole(): Buffer
}

export function createGathered(): Gathered {
  // Most bodies are one chunk, which is not copied.
  let bytes: Buffer = Buffer.alloc(0)
  // `size` is no getter: in an object literal that would give each body a hidden class of its own.
  const gathered = {
    size: 0,
    add(chunk: Buffer): void {
      const size = gathered.size + chunk.length
      if (gathered.size === 0) bytes = chunk
      else {
        if (size > bytes.length) {
          const larger = Buffer.allocUnsafeSlow(2 * size)
          larger.set(gathered.whole())
          bytes = larger
        }
        bytes.set(chunk, gathered.size)
      }
      gathered.size = size
    },
    whole: (): Buffer => bytes.subarray(0, gathered.size),
  }
  return gathered
}
