import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto"

// An envelope is: version (1 byte), nonce (12), ciphertext, tag (16). The version is authenticated with the rest.
const VERSION = 1
const NONCE_BYTES = 12
const TAG_BYTES = 16
export const KEY_BYTES = 32

/** The envelope is not whole, or key or associated data are not those it was sealed with. */
export class SealBroken extends Error {
  override readonly name = "SealBroken"
}

/**
 * AES-256-GCM with a fresh nonce. `aad` says where the plaintext belongs (ids, a name): opened in another place it fails.
 * `key` has 32 bytes; a key may seal 2^32 times at most before chance could repeat a nonce.
 */
export function seal(key: Uint8Array, plaintext: Uint8Array | string, aad: string): Buffer {
  const nonce = randomBytes(NONCE_BYTES)
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(authenticated(aad))
  const bytes = typeof plaintext === "string" ? Buffer.from(plaintext) : plaintext
  return Buffer.concat([Buffer.of(VERSION), nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()])
}

/** The plaintext of an envelope. Throws `SealBroken`. */
export function unseal(key: Uint8Array, envelope: Uint8Array, aad: string): Buffer {
  const bytes = Buffer.from(envelope.buffer, envelope.byteOffset, envelope.byteLength)
  if (bytes.length < 1 + NONCE_BYTES + TAG_BYTES || bytes[0] !== VERSION) throw new SealBroken("not an envelope")
  const nonce = bytes.subarray(1, 1 + NONCE_BYTES)
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES })
  decipher.setAAD(authenticated(aad)).setAuthTag(bytes.subarray(bytes.length - TAG_BYTES))
  try {
    return Buffer.concat([decipher.update(bytes.subarray(1 + NONCE_BYTES, bytes.length - TAG_BYTES)), decipher.final()])
  } catch (cause) {
    throw new SealBroken("wrong key, wrong place or changed bytes", { cause })
  }
}

const authenticated = (aad: string): Buffer => Buffer.concat([Buffer.of(VERSION), Buffer.from(aad)])
