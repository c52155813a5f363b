import { buildDashboard } from "../dashboard/build.ts"
import { buildGuest } from "../guest/build.ts"
import { bundlePi } from "../server/src/runtime/pi/bundle.ts"
import { warmCompileCache } from "./warm.ts"

// What must be bundled is made during `npm ci`, never committed and never at start. One after the other, so that a part
// that fails leaves those before it whole.
await bundlePi()
await buildGuest()
await buildDashboard()
await warmCompileCache()
