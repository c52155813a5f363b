import type { Failure, FailureKind } from "./protocol.ts"

/** A call's failure, told to the other side in words. */
export class CallError extends Error {
  override readonly name = "CallError"
  readonly kind: FailureKind
  constructor(kind: FailureKind, message: string) {
    super(message)
    this.kind = kind
  }
}

const BY_CODE: Record<string, { kind: FailureKind; words: string }> = {
  ENOENT: { kind: "not_found", words: "no such file or folder" },
  EISDIR: { kind: "is_directory", words: "is a folder" },
  ENOTDIR: { kind: "not_directory", words: "is not a folder" },
  EEXIST: { kind: "invalid", words: "exists already" },
  ENOTEMPTY: { kind: "invalid", words: "the folder is not empty" },
  EACCES: { kind: "permission_denied", words: "permission denied" },
  EPERM: { kind: "permission_denied", words: "not permitted" },
  EROFS: { kind: "permission_denied", words: "this part of the system is read-only" },
  EBUSY: { kind: "permission_denied", words: "is in use by the system" },
  ELOOP: { kind: "invalid", words: "too many links" },
  ENAMETOOLONG: { kind: "invalid", words: "the name is too long" },
  EXDEV: { kind: "invalid", words: "cannot be moved between /work and another part of the system" },
  ENXIO: { kind: "invalid", words: "is not a regular file" },
  ENOSPC: { kind: "too_large", words: "no space left: the storage limit of this workspace is reached" },
  EDQUOT: { kind: "too_large", words: "no space left: the storage limit of this workspace is reached" },
  EFBIG: { kind: "too_large", words: "the file is too large" },
  EMFILE: { kind: "unavailable", words: "too many open files" },
  ENFILE: { kind: "unavailable", words: "too many open files" },
  EAGAIN: { kind: "unavailable", words: "no more processes can be started: the process limit is reached" },
  ENOMEM: { kind: "unavailable", words: "no memory left: the memory limit is reached" },
  E2BIG: { kind: "invalid", words: "the command with its environment is too long" },
  ERR_INVALID_ARG_VALUE: { kind: "invalid", words: "a path or an argument holds a NUL" },
}

export function failureOf(error: unknown, subject: string): Failure {
  if (error instanceof CallError) return { kind: error.kind, message: error.message }
  const known = BY_CODE[codeOf(error)]
  if (known !== undefined) return { kind: known.kind, message: `${subject}: ${known.words}` }
  return { kind: "invalid", message: `${subject}: ${error instanceof Error ? error.message : String(error)}` }
}

export function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : ""
}
