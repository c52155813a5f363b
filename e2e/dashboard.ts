import { after } from "node:test"
import { type RegistryDouble, startRegistryDouble } from "../test/doubles/clawhub/registry.ts"
import { type ServerOptions, startServer, type TestServer } from "../test/server.ts"
import { startBrowser, type TestBrowser } from "./browser.ts"

interface Dashboard {
  server: TestServer
  browser: TestBrowser
}

/** A server and a browser on it for all tests of a file: they end after the last one. */
export async function startDashboard(options: ServerOptions = {}): Promise<Dashboard> {
  await using begun = new AsyncDisposableStack()
  const server = begun.use(await startServer(options))
  const browser = begun.use(await startBrowser(server.url))
  const both = begun.move()
  after(() => both.disposeAsync())
  return { server, browser }
}

/** The same with a registry of skills, which the server asks. */
export async function startDashboardWithRegistry(): Promise<Dashboard & { registry: RegistryDouble }> {
  await using begun = new AsyncDisposableStack()
  const registry = begun.use(await startRegistryDouble())
  const dashboard = await startDashboard({ env: { AUTONOMIS_CLAWHUB_URL: registry.url } })
  const kept = begun.move()
  after(() => kept.disposeAsync())
  return { registry, ...dashboard }
}
