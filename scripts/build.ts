import { buildDashboard } from "../dashboard/build.ts"
import { buildGuest } from "../guest/build.ts"
import { bundlePi } from "../server/src/runtime/pi/bundle.ts"

// What must be bundled is made during `npm ci`, never committed and never at start.
await Promise.all([buildGuest(), bundlePi(), buildDashboard()])
