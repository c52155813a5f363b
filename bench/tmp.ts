import { benchDashboard } from "./src/dashboard.ts"

console.log(await benchDashboard())
