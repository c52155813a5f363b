import { makeZip } from "../../zip.ts"
import { fingerprintOf, type Skill, type Status, sha256, T0, type Version } from "./catalogue.ts"

/** The bodies of a registry's answers, as the official client and OpenClaw read them. */

export const publicVersions = (skill: Skill): Version[] => skill.versions.filter((version) => version.public)
export const latestOf = (skill: Skill): Version | null => publicVersions(skill).at(-1) ?? null
const tagsOf = (skill: Skill) => ({ latest: latestOf(skill)?.version })
const pageOf = (skill: Skill) => `/${skill.owner.handle}/skills/${skill.slug}`

export function ownerOf({ owner }: Skill) {
  return { handle: owner.handle, userId: `users:${owner.handle}`, displayName: owner.displayName, image: null }
}

export function archiveOf(skill: Skill, version: Version, tampered: boolean): Buffer {
  const meta = { ownerId: `users:${skill.owner.handle}`, slug: skill.slug, version: version.version, publishedAt: T0 }
  const entries = version.files.map((file) => ({
    name: file.path,
    data: tampered && file.path === "scripts/hello.sh" ? "#!/bin/sh\necho tampered\n" : file.bytes,
    deflate: true,
  }))
  entries.push({ name: "_meta.json", data: Buffer.from(JSON.stringify(meta, null, 2)), deflate: true })
  for (const [name, data] of Object.entries(version.stowaways ?? {})) entries.push({ name, data, deflate: true })
  return makeZip(entries)
}

export function plainArchiveOf(version: Version): Buffer {
  return makeZip(version.files.map((file) => ({ name: file.path, data: file.bytes, deflate: true })))
}

export function searchRow(skill: Skill, score: number) {
  const { owner, slug, displayName, summary, id } = skill
  const publisher = { kind: "org", handle: owner.handle, displayName: owner.displayName, image: null, official: false }
  return {
    id: `clawhub:${id}`,
    source: "clawhub",
    slug,
    displayName,
    summary,
    icon: null,
    score,
    official: false,
    featured: false,
    canonicalUrl: pageOf(skill),
    links: { canonical: pageOf(skill), source: null },
    publisher,
    owner: { handle: owner.handle, displayName: owner.displayName, image: null },
    ownerHandle: owner.handle,
    install: { kind: "clawhub", reference: `${owner.handle}/${slug}`, sourceUrl: null },
    sourceIdentity: { id, owner: owner.handle, repo: null, host: null, lifetimeInstalls: null },
    trust: {
      visibility: "public",
      installability: "installable",
      clawHubVerdict: null,
      upstreamScanners: null,
      sourceFreshness: "native",
    },
    metrics: { rolling60DayInstalls: 7, bookmarks: 1, updatedAt: T0 },
    version: latestOf(skill)?.version ?? null,
    downloads: 42,
    updatedAt: T0,
  }
}

export function moderationOf(skill: Skill) {
  const status = latestOf(skill)?.status ?? "clean"
  if (status !== "suspicious" && status !== "malicious") return null
  return {
    isSuspicious: status === "suspicious",
    isMalwareBlocked: status === "malicious",
    verdict: status,
    reasonCodes: [`${status}.double`],
    summary: `Detected: ${status}.double`,
    engineVersion: "v2.0.0",
    updatedAt: T0,
  }
}

function latestVersionOf(skill: Skill) {
  const version = latestOf(skill)
  return version && { version: version.version, createdAt: T0, changelog: version.changelog, license: "MIT-0" }
}

export function listItem(skill: Skill) {
  const { slug, displayName, summary } = skill
  return {
    ...{ slug, displayName, summary, description: summary, topics: [], tags: tagsOf(skill) },
    ...{ stats: { downloads: 42, stars: 1 }, createdAt: T0, updatedAt: T0 },
    latestVersion: latestVersionOf(skill),
    metadata: { setup: [], os: null, systems: null },
  }
}

export function detailOf(skill: Skill) {
  const { slug, displayName, summary } = skill
  const description = latestOf(skill)?.files[0]?.bytes.toString() ?? ""
  return {
    skill: {
      ...{ slug, displayName, summary, icon: null, description, topics: [], tags: tagsOf(skill) },
      ...{ stats: { downloads: 42 }, createdAt: T0, updatedAt: T0 },
    },
    latestVersion: latestVersionOf(skill),
    metadata: { setup: [], os: null, systems: null },
    owner: ownerOf(skill),
    moderation: moderationOf(skill),
  }
}

const scanOf = ({ status }: Version) => ({
  ...{ status, hasWarnings: status !== "clean", checkedAt: T0, model: "double", hasScanResult: status !== "pending" },
  ...{ virustotalUrl: null, scanners: { vt: null, skillspector: null, llm: null } },
})

export const filesOf = (version: Version) =>
  version.files.map(({ path, size, sha256: hash, contentType }) => ({ path, size, sha256: hash, contentType }))

export function versionOf(skill: Skill, version: Version) {
  const { slug, displayName } = skill
  const { version: number, changelog } = version
  return {
    skill: { slug, displayName },
    version: {
      ...{ version: number, createdAt: T0, changelog, changelogSource: "user", license: "MIT-0" },
      files: filesOf(version),
      // The hash of another archive, as the real registry has it.
      security: { ...scanOf(version), sha256hash: sha256(Buffer.from(`${slug}@${number}`)) },
    },
  }
}

export function scanAnswer(skill: Skill, version: Version) {
  const { slug, displayName } = skill
  return {
    skill: { slug, displayName },
    version: { version: version.version, createdAt: T0, changelogSource: "user" },
    moderation: moderationOf(skill) && {
      ...{ scope: "skill", sourceVersion: { version: version.version, createdAt: T0 }, matchesRequestedVersion: true },
      ...{ isPendingScan: false, isMalwareBlocked: version.status === "malicious" },
      ...{ isSuspicious: version.status === "suspicious", isHiddenByMod: false, isRemoved: false },
    },
    security: { ...scanOf(version), sha256hash: null },
  }
}

export function reasonsOf(status: Status): string[] {
  return [
    ...(status === "malicious" ? ["moderation.malware_blocked"] : []),
    ...(status === "clean" ? [] : ["security.status_not_clean"]),
    ...(status === "pending" ? ["security.pending"] : []),
    ...(status === "error" ? ["security.error"] : []),
  ]
}

function securityOf({ status }: Version) {
  const clean = status === "clean"
  return {
    ...{ status, passed: clean, rawStatus: status, verdict: clean ? "benign" : status, confidence: "high" },
    ...{ summary: "a double's verdict", model: "double", checkedAt: T0 },
    signals: {
      staticScan: { status, rawStatus: status, reasonCodes: [], summary: null, engineVersion: "v2.0.0", checkedAt: T0 },
      ...{ virusTotal: null, skillSpector: null, dependencyRegistry: null },
    },
  }
}

export interface VerdictRequest {
  slug: string
  ownerHandle?: string
  version: string
}

export function verdictOf(request: VerdictRequest, skill: Skill | null, origin: string) {
  const base = {
    requestedSlug: request.slug,
    ...(request.ownerHandle ? { requestedOwnerHandle: request.ownerHandle } : {}),
    slug: request.slug,
    requestedVersion: request.version,
  }
  const version = skill && (publicVersions(skill).find((one) => one.version === request.version) ?? null)
  if (skill === null || version === null) {
    const what = skill === null ? "skill" : "version"
    return {
      ...{ ok: false, decision: "fail", reasons: [`${what}.not_found`], ...base, version: null, displayName: null },
      ...{ publisherHandle: null, publisherDisplayName: null, createdAt: null, checkedAt: null, skillUrl: null },
      ...{ securityAuditUrl: null, security: null, error: { code: `${what}_not_found`, message: `no such ${what}` } },
    }
  }
  const reasons = reasonsOf(version.status)
  const page = `${origin}${pageOf(skill)}`
  return {
    ...{ ok: reasons.length === 0, decision: reasons.length === 0 ? "pass" : "fail", reasons, ...base },
    ...{ displayName: skill.displayName, publisherHandle: skill.owner.handle },
    ...{ publisherDisplayName: skill.owner.displayName, version: version.version, createdAt: T0, checkedAt: T0 },
    ...{ skillUrl: page, securityAuditUrl: `${page}/security-audit?version=${version.version}` },
    ...{ security: securityOf(version), overview: `The double's audit: ${version.status}.` },
  }
}

export function verifyAnswer(skill: Skill, version: Version, query: URLSearchParams, origin: string) {
  return {
    ...{ schema: "clawhub.skill.verify.v1", ok: false, decision: "fail" },
    reasons: ["card.missing", ...reasonsOf(version.status)],
    ...{ slug: skill.slug, displayName: skill.displayName, pageUrl: `${origin}${pageOf(skill)}` },
    ...{ publisherHandle: skill.owner.handle, publisherDisplayName: skill.owner.displayName },
    ...{ publisherProfileUrl: `${origin}/${skill.owner.handle}`, version: version.version },
    resolvedFrom: query.get("version") ? "version" : query.get("tag") ? "tag" : "latest",
    ...{ tag: query.get("tag"), createdAt: T0 },
    card: { available: false, path: "skill-card.md", url: null, sha256: null, size: null, contentType: null },
    artifact: { sourceFingerprint: fingerprintOf(version.files), bundleFingerprints: [], files: filesOf(version) },
    provenance: { source: "unavailable", reason: "double" },
    security: securityOf(version),
    signature: { status: "unsigned" },
  }
}
