import { z } from "zod"

/** What we read of a registry's answers; everything else in them may change. Bounded, because others write it. */
const Text = (max: number) => z.string().transform((value) => value.slice(0, max))
const Slug = z.string().max(200)
const Handle = z.string().max(100)
const Version = z.string().min(1).max(100)

export const Discovery = z.looseObject({
  apiBase: z.string().max(2000).nullish(),
  registry: z.string().max(2000).nullish(),
})

export const Search = z.looseObject({
  results: z
    .array(
      z.looseObject({
        source: z.string().nullish(),
        slug: Slug,
        displayName: Text(200).nullish(),
        summary: Text(1000).nullish(),
        version: Version.nullish(),
        downloads: z.number().nullish(),
        updatedAt: z.number().nullish(),
        ownerHandle: Handle.nullish(),
        trust: z.looseObject({ clawHubVerdict: Text(50).nullish() }).nullish(),
      }),
    )
    .max(200),
})

const Moderation = z.looseObject({
  isMalwareBlocked: z.boolean().nullish(),
  verdict: Text(50).nullish(),
  summary: Text(500).nullish(),
})

export const Detail = z.looseObject({
  skill: z.looseObject({ slug: Slug }),
  latestVersion: z.looseObject({ version: Version }).nullish(),
  owner: z.looseObject({ handle: Handle }).nullish(),
  moderation: Moderation.nullish(),
})

export const Ambiguous = z.looseObject({
  matches: z
    .array(z.looseObject({ ownerHandle: Handle, slug: Slug, ref: Text(300).nullish(), url: Text(2000).nullish() }))
    .max(100),
})

const Security = z.looseObject({ status: Text(50).nullish() })

export const Verdicts = z.looseObject({
  items: z
    .array(
      z.looseObject({
        ok: z.boolean(),
        decision: z.string().max(50),
        reasons: z.array(Text(200)).max(100).nullish(),
        requestedSlug: Slug.nullish(),
        requestedVersion: Version.nullish(),
        requestedOwnerHandle: Handle.nullish(),
        slug: Slug.nullish(),
        version: Version.nullish(),
        publisherHandle: Handle.nullish(),
        security: Security.nullish(),
      }),
    )
    .max(200),
})

export const VersionDetail = z.looseObject({
  skill: z.looseObject({ slug: Slug }).nullish(),
  version: z.looseObject({
    version: Version,
    files: z
      .array(
        z.looseObject({
          path: z.string().max(2000),
          size: z.number().int().min(0),
          sha256: z.string().regex(/^[0-9a-fA-F]{64}$/),
        }),
      )
      .max(5000),
    security: Security.nullish(),
  }),
})
