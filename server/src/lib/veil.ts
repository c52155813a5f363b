import { createCipheriv, createDecipheriv } from "node:crypto"

/**
 * Shows a number that all tenants share (a row's id) as an opaque word: nobody can tell from two of them how much
 * others did in between. The same key gives the same words, also after a restart and on another server.
 */
export interface Veil {
  over(id: number): string
  /** Null for a word that was not made with this key. */
  under(word: string): number | null
}

/** `key`: 16 bytes. */
export function createVeil(key: Uint8Array): Veil {
  // One block each, so that the mode does not matter; its second half stays zero and tells a word made elsewhere.
  const cipher = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false)
  const decipher = createDecipheriv("aes-128-ecb", key, null).setAutoPadding(false)
  return {
    over(id) {
      const block = Buffer.alloc(16)
      block.writeBigUInt64BE(BigInt(id))
      return cipher.update(block).toString("hex")
    },
    under(word) {
      if (!/^[0-9a-f]{32}$/.test(word)) return null
      const block = decipher.update(Buffer.from(word, "hex"))
      const id = block.readBigUInt64BE()
      return block.readBigUInt64BE(8) === 0n && id <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(id) : null
    },
  }
}
