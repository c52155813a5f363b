/**
 * The providers that Autonomis knows, without the agent library: which environment variables (or secrets of the same
 * names) hold the key and base URL, and which model is the default. In the order in which a default is looked for.
 *
 * Left out: providers that can only be signed in to in a browser. Of Amazon's and Google's clouds only an explicit
 * key is taken; the machine's own ("ambient") credentials are never used.
 */
export interface Provider {
  id: string
  label: string
  /** Any one of these is the key; the first is named in messages. */
  keyVariables: string[]
  baseUrlVariable: string | null
  /** The model used when nothing names one; without the provider's prefix. */
  defaultModel: string
  /** There is no address without it (it names the account or the deployment), so the key alone is not enough. */
  baseUrlRequired: boolean
  /** False where the provider's client cannot be made to go through the guarded fetch. */
  userBaseUrl: boolean
}

type Row = [id: string, label: string, key: string, baseUrl: string | null, defaultModel: string]

const ROWS: Row[] = [
  ["anthropic", "Anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "claude-sonnet-5"],
  ["openai", "OpenAI", "OPENAI_API_KEY", "OPENAI_BASE_URL", "gpt-5.4"],
  ["google", "Google Gemini", "GEMINI_API_KEY", "GEMINI_BASE_URL", "gemini-3.5-flash"],
  ["openrouter", "OpenRouter", "OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "~anthropic/claude-sonnet-latest"],
  ["mistral", "Mistral", "MISTRAL_API_KEY", "MISTRAL_BASE_URL", "mistral-large-latest"],
  ["deepseek", "DeepSeek", "DEEPSEEK_API_KEY", "DEEPSEEK_BASE_URL", "deepseek-v4-pro"],
  ["xai", "xAI", "XAI_API_KEY", "XAI_BASE_URL", "grok-4.7"],
  ["groq", "Groq", "GROQ_API_KEY", "GROQ_BASE_URL", "openai/gpt-oss-120b"],
  ["cerebras", "Cerebras", "CEREBRAS_API_KEY", "CEREBRAS_BASE_URL", "gpt-oss-120b"],
  ["together", "Together AI", "TOGETHER_API_KEY", "TOGETHER_BASE_URL", "openai/gpt-oss-120b"],
  ["fireworks", "Fireworks", "FIREWORKS_API_KEY", "FIREWORKS_BASE_URL", "accounts/fireworks/models/gpt-oss-120b"],
  ["baseten", "Baseten", "BASETEN_API_KEY", "BASETEN_BASE_URL", "openai/gpt-oss-120b"],
  ["huggingface", "Hugging Face", "HF_TOKEN", "HF_BASE_URL", "openai/gpt-oss-120b"],
  ["nvidia", "NVIDIA", "NVIDIA_API_KEY", "NVIDIA_BASE_URL", "nvidia/nemotron-3-ultra-550b-a55b"],
  ["moonshotai", "Moonshot AI", "MOONSHOT_API_KEY", "MOONSHOT_BASE_URL", "kimi-k3"],
  ["moonshotai-cn", "Moonshot AI (China)", "MOONSHOT_API_KEY", "MOONSHOT_CN_BASE_URL", "kimi-k3"],
  ["kimi-coding", "Kimi For Coding", "KIMI_API_KEY", "KIMI_BASE_URL", "kimi-for-coding"],
  ["zai", "Z.AI", "ZAI_API_KEY", "ZAI_BASE_URL", "glm-5.3"],
  ["zai-coding-cn", "Z.AI Coding (China)", "ZAI_CODING_CN_API_KEY", "ZAI_CODING_CN_BASE_URL", "glm-5.3"],
  ["minimax", "MiniMax", "MINIMAX_API_KEY", "MINIMAX_BASE_URL", "MiniMax-M3"],
  ["minimax-cn", "MiniMax (China)", "MINIMAX_CN_API_KEY", "MINIMAX_CN_BASE_URL", "MiniMax-M3"],
  ["qwen-token-plan", "Qwen Token Plan", "QWEN_TOKEN_PLAN_API_KEY", "QWEN_TOKEN_PLAN_BASE_URL", "qwen3.8-max"],
  [
    "qwen-token-plan-individual",
    "Qwen Token Plan (individual)",
    "QWEN_TOKEN_PLAN_API_KEY",
    "QWEN_TOKEN_PLAN_INDIVIDUAL_BASE_URL",
    "qwen3.8-max",
  ],
  [
    "qwen-token-plan-cn",
    "Qwen Token Plan (China)",
    "QWEN_TOKEN_PLAN_CN_API_KEY",
    "QWEN_TOKEN_PLAN_CN_BASE_URL",
    "qwen3.8-max",
  ],
  ["xiaomi", "Xiaomi", "XIAOMI_API_KEY", "XIAOMI_BASE_URL", "mimo-v2.5-pro"],
  [
    "xiaomi-token-plan-cn",
    "Xiaomi Token Plan (China)",
    "XIAOMI_TOKEN_PLAN_CN_API_KEY",
    "XIAOMI_TOKEN_PLAN_CN_BASE_URL",
    "mimo-v2.5-pro",
  ],
  [
    "xiaomi-token-plan-ams",
    "Xiaomi Token Plan (Europe)",
    "XIAOMI_TOKEN_PLAN_AMS_API_KEY",
    "XIAOMI_TOKEN_PLAN_AMS_BASE_URL",
    "mimo-v2.5-pro",
  ],
  [
    "xiaomi-token-plan-sgp",
    "Xiaomi Token Plan (Singapore)",
    "XIAOMI_TOKEN_PLAN_SGP_API_KEY",
    "XIAOMI_TOKEN_PLAN_SGP_BASE_URL",
    "mimo-v2.5-pro",
  ],
  ["ant-ling", "Ant Ling", "ANT_LING_API_KEY", "ANT_LING_BASE_URL", "Ling-2.6-1T"],
  ["meta", "Meta", "META_API_KEY", "META_BASE_URL", "muse-spark-1.3"],
  ["vercel-ai-gateway", "Vercel AI Gateway", "AI_GATEWAY_API_KEY", "AI_GATEWAY_BASE_URL", "anthropic/claude-sonnet-5"],
  ["opencode", "OpenCode Zen", "OPENCODE_API_KEY", "OPENCODE_BASE_URL", "claude-sonnet-5"],
  ["opencode-go", "OpenCode Go", "OPENCODE_API_KEY", "OPENCODE_GO_BASE_URL", "glm-5.3"],
  ["radius", "Radius", "RADIUS_API_KEY", "RADIUS_BASE_URL", "balanced"],
  ["github-copilot", "GitHub Copilot", "COPILOT_GITHUB_TOKEN", "COPILOT_BASE_URL", "gpt-5.4"],
  ["azure-openai-responses", "Azure OpenAI", "AZURE_OPENAI_API_KEY", "AZURE_OPENAI_BASE_URL", "gpt-5.4"],
  [
    "cloudflare-ai-gateway",
    "Cloudflare AI Gateway",
    "CLOUDFLARE_API_KEY",
    "CLOUDFLARE_AI_GATEWAY_BASE_URL",
    "claude-sonnet-5",
  ],
  [
    "cloudflare-workers-ai",
    "Cloudflare Workers AI",
    "CLOUDFLARE_API_KEY",
    "CLOUDFLARE_WORKERS_AI_BASE_URL",
    "@cf/openai/gpt-oss-120b",
  ],
  ["google-vertex", "Google Vertex AI", "GOOGLE_CLOUD_API_KEY", "GOOGLE_VERTEX_BASE_URL", "gemini-3.5-flash"],
  ["amazon-bedrock", "Amazon Bedrock", "AWS_BEARER_TOKEN_BEDROCK", null, "global.anthropic.claude-sonnet-5"],
]

const NEEDS_BASE_URL = new Set(["azure-openai-responses", "cloudflare-ai-gateway", "cloudflare-workers-ai"])
/** Its client speaks HTTP/2 by itself and takes no fetch. */
const NO_USER_BASE_URL = new Set(["amazon-bedrock"])

export const PROVIDERS: readonly Provider[] = ROWS.map(([id, label, key, baseUrlVariable, defaultModel]) => ({
  id,
  label,
  keyVariables: [key],
  baseUrlVariable,
  defaultModel,
  baseUrlRequired: NEEDS_BASE_URL.has(id),
  userBaseUrl: !NO_USER_BASE_URL.has(id),
}))

const BY_ID = new Map(PROVIDERS.map((provider) => [provider.id, provider]))

export function findProvider(id: string): Provider | undefined {
  return BY_ID.get(id)
}

/** `openai/gpt-5` → `openai` and `gpt-5`; a model's own name may hold further slashes. Null for a bad form. */
export function splitModel(model: string): { provider: string; id: string } | null {
  const slash = model.indexOf("/")
  return slash < 1 || slash === model.length - 1
    ? null
    : { provider: model.slice(0, slash), id: model.slice(slash + 1) }
}

/** Secrets of these names are used by the runtime and never put into a sandbox. */
export const PROVIDER_VARIABLES: ReadonlySet<string> = new Set(
  PROVIDERS.flatMap((provider) => [
    ...provider.keyVariables,
    ...(provider.baseUrlVariable === null ? [] : [provider.baseUrlVariable]),
  ]),
)

/**
 * Everything that a provider's client would read from the environment by itself. Deleted from `process.env` once the
 * settings are read, so that no library can ever pick up a key that was not handed to it.
 */
export const ENVIRONMENT_TO_DELETE: readonly string[] = [
  ...PROVIDER_VARIABLES,
  ..."ANTHROPIC_AUTH_TOKEN ANTHROPIC_OAUTH_TOKEN ANTHROPIC_CUSTOM_HEADERS ANTHROPIC_IDENTITY_TOKEN ANTHROPIC_PROFILE".split(
    " ",
  ),
  ..."ANTHROPIC_IDENTITY_TOKEN_FILE ANTHROPIC_CONFIG_DIR ANTHROPIC_WEBHOOK_SIGNING_KEY ANTHROPIC_LOG".split(" "),
  ..."OPENAI_ADMIN_KEY OPENAI_ORG_ID OPENAI_PROJECT_ID OPENAI_WEBHOOK_SECRET OPENAI_CUSTOM_HEADERS OPENAI_LOG".split(
    " ",
  ),
  ..."AZURE_OPENAI_RESOURCE_NAME AZURE_OPENAI_API_VERSION AZURE_OPENAI_DEPLOYMENT_NAME_MAP".split(" "),
  ..."CLOUDFLARE_ACCOUNT_ID CLOUDFLARE_GATEWAY_ID CLOUDFLARE_API_TOKEN PI_CACHE_RETENTION".split(" "),
  ..."GOOGLE_API_KEY GOOGLE_GEMINI_BASE_URL GOOGLE_GENAI_USE_VERTEXAI GOOGLE_GENAI_USE_ENTERPRISE".split(" "),
  ..."GOOGLE_APPLICATION_CREDENTIALS GOOGLE_CLOUD_PROJECT GOOGLE_CLOUD_LOCATION GCLOUD_PROJECT".split(" "),
  ..."AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION".split(" "),
  ..."AWS_WEB_IDENTITY_TOKEN_FILE AWS_ROLE_ARN AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AWS_BEDROCK_BASE_URL".split(" "),
  ..."AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_CONTAINER_AUTHORIZATION_TOKEN AWS_BEDROCK_SKIP_AUTH".split(" "),
]
