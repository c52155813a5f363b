import { AppError } from "../lib/errors.ts"
import { findProvider, PROVIDERS, splitModel } from "../runtime/providers.ts"

/** What must be known of the platform to say which model a message would use. */
export interface ModelsOptions {
  /** `AUTONOMIS_DEFAULT_MODEL`. */
  defaultModel: string | null
  demo: boolean
  /** The platform's own provider keys and base URLs, by the variables' names. */
  platform: Readonly<Record<string, string>>
}

export const DEMO_MODEL = "demo/demo"

export interface Models {
  /** The model that a message would use: the one that is wanted, else the default. */
  effective(userId: string, wanted: string | null): Promise<string>
  /** 400 for a model that cannot be. */
  check(userId: string, wanted: string | null): Promise<void>
}

export function createModels({ defaultModel, demo, platform }: ModelsOptions): Models {
  return {
    async effective(_userId, wanted) {
      if (wanted !== null) return wanted
      if (defaultModel !== null) return defaultModel
      const first = PROVIDERS.find((provider) => provider.keyVariables.some((name) => platform[name] !== undefined))
      return first === undefined ? DEMO_MODEL : `${first.id}/${first.defaultModel}`
    },
    async check(_userId, wanted) {
      if (wanted === null || (wanted === DEMO_MODEL && demo)) return
      const parts = splitModel(wanted)
      if (parts === null || findProvider(parts.provider) === undefined)
        throw new AppError("invalid_request", `unknown model ${JSON.stringify(wanted)}`)
    },
  }
}
