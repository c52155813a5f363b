import { extname } from "node:path/posix"

const TEXT = "; charset=utf-8"

/** By the name's ending, never by the content: what a file is called is what its author meant. */
const TYPES: Record<string, string> = {
  ".txt": `text/plain${TEXT}`,
  ".log": `text/plain${TEXT}`,
  ".md": `text/markdown${TEXT}`,
  ".html": `text/html${TEXT}`,
  ".htm": `text/html${TEXT}`,
  ".css": `text/css${TEXT}`,
  ".csv": `text/csv${TEXT}`,
  ".js": `text/javascript${TEXT}`,
  ".mjs": `text/javascript${TEXT}`,
  ".ts": `text/plain${TEXT}`,
  ".py": `text/plain${TEXT}`,
  ".sh": `text/plain${TEXT}`,
  ".yaml": `text/plain${TEXT}`,
  ".yml": `text/plain${TEXT}`,
  ".toml": `text/plain${TEXT}`,
  ".json": "application/json",
  ".xml": "application/xml",
  ".pdf": "application/pdf",
  ".zip": "application/zip",
  ".gz": "application/gzip",
  ".tar": "application/x-tar",
  ".wasm": "application/wasm",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".jpeg": "image/jpeg",
  ".gif": "image/gif",
  ".webp": "image/webp",
  ".svg": "image/svg+xml",
  ".ico": "image/x-icon",
  ".mp3": "audio/mpeg",
  ".wav": "audio/wav",
  ".mp4": "video/mp4",
  ".webm": "video/webm",
}

export function contentTypeOf(name: string): string {
  return TYPES[extname(name).toLowerCase()] ?? "application/octet-stream"
}
