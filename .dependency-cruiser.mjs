/** The import rules of the house: lib ← db ← domains ← app. Run by `npm run check`. */
const DOMAINS = "keys|users|plans|agents|templates|secrets|models|files|skills|usage|logs|audit|chat|schedule|platform"
const TESTS = "\\.test\\.ts$"
const server = (names) => `^server/src/(${names})/`

/** A rule about what a part may never import; tests may reach further. */
const forbid = (name, comment, from, to, extra = {}) => ({
  name,
  comment,
  severity: "error",
  from: { pathNot: [TESTS, "/(testing|fixtures)[/.-]"], ...from },
  to: { ...extra, ...to },
})

export default {
  forbidden: [
    {
      name: "no-circular",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
    { name: "resolvable", severity: "error", from: {}, to: { couldNotResolve: true } },

    forbid(
      "contract-alone",
      "The contract knows nothing else.",
      { path: "^contract/" },
      { path: "^(server|guest|sdk|cli|dashboard)/" },
    ),
    forbid(
      "guest-alone",
      "What runs inside a sandbox knows nothing of the server.",
      { path: "^guest/" },
      { path: "^(server|contract|sdk|cli|dashboard)/" },
    ),
    forbid(
      "clients-through-sdk",
      "Dashboard and CLI know only the SDK and the contract.",
      { path: "^(dashboard|cli|sdk)/src/" },
      { path: "^(server|guest)/" },
    ),
    forbid(
      "server-not-clients",
      "The server knows none of its clients.",
      { path: "^(server|contract|guest)/" },
      { path: "^(sdk|cli|dashboard|e2e|bench)/" },
    ),
    forbid(
      "tests-only-by-tests",
      "Nothing that runs in production imports the test harness.",
      { path: "^(server|contract|guest|sdk|cli|dashboard)/" },
      { path: "^(test|e2e|bench)/" },
    ),

    forbid("lib-lowest", "lib/ has no domain words.", { path: server("lib") }, { path: "^server/src/(?!lib/)" }),
    forbid("db-on-lib", "db/ stands on lib/ alone.", { path: server("db") }, { path: "^server/src/(?!lib/|db/)" }),
    forbid(
      "http-no-domain",
      "http/ knows no domain.",
      { path: server("http") },
      { path: server(`${DOMAINS}|runtime|sandboxes|start`) },
    ),
    forbid(
      "http-no-db",
      "http/ may name the database's types only.",
      { path: server("http") },
      { path: server("db"), dependencyTypesNot: ["type-only"] },
    ),
    forbid(
      "domain-front-door",
      "A domain imports of another only its front file.",
      { path: `^server/src/(${DOMAINS})/` },
      {
        path: `^server/src/(${DOMAINS})/`,
        pathNot: ["^server/src/$1/", `^server/src/(${DOMAINS})/\\1\\.ts$`],
      },
    ),
    forbid(
      "app-on-top",
      "Only the start knows the app.",
      { path: "^server/src/", pathNot: [TESTS, "^server/src/(start/|main\\.ts|app\\.ts)", "/(testing|fixtures)[/.-]"] },
      { path: "^server/src/(app|main)\\.ts|^server/src/start/" },
    ),

    forbid(
      "driver-alone",
      "A driver knows only driver.ts and lib/.",
      { path: "^server/src/sandboxes/drivers/([^/]+)/" },
      {
        path: "^server/src/",
        pathNot: [
          "^server/src/lib/",
          "^server/src/sandboxes/driver\\.ts$",
          "^server/src/sandboxes/drivers/$1/",
          "^server/src/sandboxes/drivers/[^/]+\\.ts$",
        ],
      },
    ),
    forbid(
      "sandboxes-no-domain",
      "Sandboxes know no domain.",
      { path: server("sandboxes") },
      { path: server(`${DOMAINS}|http|db`) },
    ),
    forbid(
      "runtime-no-domain",
      "The brain sees neither a driver nor a domain.",
      { path: server("runtime") },
      { path: server(`${DOMAINS}|http|db|sandboxes|start`) },
    ),
    forbid(
      "pi-only-in-runtime",
      "The agent library lives in runtime/ and nowhere else.",
      { pathNot: [server("runtime"), "^node_modules/", TESTS] },
      { path: "@earendil-works/" },
    ),
    forbid(
      "environment-read-once",
      "Nothing below the start reads another way around the configuration.",
      { path: `^server/src/(${DOMAINS}|lib|db|http|runtime|sandboxes)/` },
      {
        path: "^server/src/config\\.ts$",
        dependencyTypesNot: ["type-only"],
      },
    ),
  ],
  options: {
    doNotFollow: { path: "node_modules|/dist/" },
    exclude: { path: "(^|/)dist/" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
      extensions: [".ts", ".tsx", ".js", ".mjs", ".json"],
    },
  },
}
