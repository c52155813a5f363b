import { readFile } from "node:fs/promises"
import type { Api, Model } from "@earendil-works/pi-ai"
import type { CatalogueModel } from "./protocol.ts"
import { PROVIDERS } from "./providers.ts"

/**
 * The agent library's catalogue of models with prices and windows, read as data, one provider at a time: importing it
 * would bring all 900 KB of it, and the library's providers look for keys in the environment.
 */
const loaded = new Map<string, Promise<ReadonlyMap<string, Model<Api>>>>()

export function modelsOf(provider: string): Promise<ReadonlyMap<string, Model<Api>>> {
  let models = loaded.get(provider)
  if (models === undefined) {
    models = readModels(provider)
    loaded.set(provider, models)
  }
  return models
}

async function readModels(provider: string): Promise<ReadonlyMap<string, Model<Api>>> {
  const module = import.meta.resolve(`@earendil-works/pi-ai/providers/${provider}.models`)
  const text = await readFile(new URL(`./data/${provider}.json`, module), "utf8")
  const models = new Map<string, Model<Api>>()
  const groups: unknown = JSON.parse(text)
  for (const group of entriesOf(groups)) {
    for (const model of entriesOf(group)) if (isModel(model)) models.set(model.id, model)
  }
  return models
}

export async function listCatalogue(): Promise<CatalogueModel[]> {
  const lists = await Promise.all(
    PROVIDERS.map(async ({ id: provider }) =>
      [...(await modelsOf(provider)).values()].map((model) => ({
        id: `${provider}/${model.id}`,
        provider,
        contextWindow: model.contextWindow,
        maxOutputTokens: model.maxTokens,
        images: model.input.includes("image"),
        reasoning: model.reasoning,
        price: priceOf(model),
      })),
    ),
  )
  loaded.clear()
  return lists.flat()
}

export function priceOf(model: Model<Api>): CatalogueModel["price"] {
  const { input, output, cacheRead, cacheWrite } = model.cost
  return { input, output, cacheRead, cacheWrite }
}

function entriesOf(value: unknown): unknown[] {
  return typeof value === "object" && value !== null ? Object.values(value) : []
}

function isModel(value: unknown): value is Model<Api> {
  return (
    typeof value === "object" &&
    value !== null &&
    "id" in value &&
    typeof value.id === "string" &&
    "api" in value &&
    typeof value.api === "string" &&
    "baseUrl" in value &&
    "cost" in value &&
    "contextWindow" in value &&
    "input" in value &&
    Array.isArray(value.input)
  )
}
