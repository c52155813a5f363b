import { z } from "zod"

/** Of labels in their ASCII form; the last begins with a letter, so that no address passes for a name. */
const DOMAIN = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?$/
/** What a URL's parser would not read as part of a host name, or would read in another way. */
const NOT_IN_NAMES = /[\s/\\:@?#%*[\]<>^|]/

/** Lower case, punycode, no dot at the end: the one spelling that names are compared in. */
function plainDomain(text: string): string {
  if (text === "" || NOT_IN_NAMES.test(text)) return text
  const url = `http://${text}/`
  return URL.canParse(url) ? new URL(url).hostname.replace(/\.$/, "") : text
}

/** A name of the internet, for itself and all below it. */
const Domain = z
  .string()
  .max(253)
  .overwrite(plainDomain)
  .refine((name) => name.length <= 253 && DOMAIN.test(name), {
    error: "a domain like example.com, which stands for itself and all below it; no wildcard, port, path or address",
  })

export const domainList = (most: number) =>
  z
    .array(Domain)
    .max(most)
    .overwrite((list) => [...new Set(list)])

/** Never empty: an agent that may reach nothing has no network. */
export const allowedDomains = (most: number) => domainList(most).min(1, "name a domain, or null for all").nullable()

/** What the sandboxes of a plan may reach. Left out altogether: all that is public. */
export const PlanNetwork = z
  .strictObject({
    allowed: z.boolean().optional().meta({ description: "false: no agent of this plan gets a network." }),
    allow: allowedDomains(1000)
      .optional()
      .meta({ description: "Domains, with all below them, that may be reached. null: all that are not denied." }),
    deny: domainList(1000)
      .optional()
      .meta({ description: "Domains, with all below them, that may not be reached, whatever `allow` says." }),
  })
  .meta({ id: "PlanNetwork" })
