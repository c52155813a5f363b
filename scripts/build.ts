import { buildGuest } from "../guest/build.ts"

// What must be bundled is made during `npm ci`, never committed and never at start.
await buildGuest()
