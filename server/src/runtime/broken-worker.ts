import { registerHooks } from "node:module"

/** The runtime's thread on a machine where some of its files cannot be read. */
registerHooks({
  resolve(specifier, context, next) {
    if (/\/(catalogue|test-model)\.ts$/.test(specifier) && context.parentURL?.endsWith("/worker.ts"))
      throw new Error(`${specifier} cannot be read`)
    return next(specifier, context)
  },
})
await import("./worker.ts")
