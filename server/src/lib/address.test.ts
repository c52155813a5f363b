import assert from "node:assert/strict"
import { test } from "node:test"
import { isPublicAddress, resolvePublic } from "./address.ts"
import { AppError } from "./errors.ts"

const REFUSED = [
  "127.0.0.1", "127.8.8.8", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1",
  "169.254.169.254", "169.254.170.2", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192",
  "198.18.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
  "::", "::1", "fe80::1", "fe80::1%eth0", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1", "2002:7f00:1::",
  "2001::1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1",
  "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:7f00:1", "::127.0.0.1", "0:0:0:0:0:ffff:a00:1",
  "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.01", "0x7f.0.0.1", "1.2.3", "1.2.3.4.5", "256.1.1.1", "", "localhost", "8.8.8.8 ",
] // biome-ignore format: a table
const PUBLIC = ["8.8.8.8", "1.1.1.1", "100.63.255.255", "172.32.0.1", "2606:4700:4700::1111", "2a00:1450:4001::200e"]

test("only global unicast addresses in their plain spelling are public", () => {
  for (const ip of REFUSED) assert.equal(isPublicAddress(ip), false, ip)
  for (const ip of PUBLIC) assert.equal(isPublicAddress(ip), true, ip)
})

const refusedWith = (code: string) => (error: unknown) => error instanceof AppError && error.code === code

test("a name that answers with a private address is refused, and the public one among several is taken", async () => {
  await assert.rejects(
    resolvePublic("evil.example", { lookup: async () => ["127.0.0.1", "::1"] }),
    refusedWith("forbidden"),
  )
  const mixed = await resolvePublic("mixed.example", { lookup: async () => ["10.0.0.1", "8.8.8.8"] })
  assert.deepEqual(mixed, { address: "8.8.8.8", family: 4 })
})

test("a name is looked up exactly once, so that a changed answer gains nothing", async () => {
  let asked = 0
  const lookup = async () => (asked++ === 0 ? ["8.8.8.8"] : ["127.0.0.1"])
  assert.deepEqual(await resolvePublic("rebind.example", { lookup }), { address: "8.8.8.8", family: 4 })
  assert.equal(asked, 1)
})

test("addresses in any spelling are never given to a resolver", async () => {
  const lookup = async () => assert.fail("looked up")
  for (const host of [
    "2130706433",
    "127.1",
    "0x7f.1",
    "0177.0.0.1",
    "[::1]",
    "::ffff:10.0.0.1",
    "1.2.3.4.5",
    "127.0.0.1.",
  ]) {
    await assert.rejects(resolvePublic(host, { lookup }), refusedWith("forbidden"), host)
  }
  assert.deepEqual(await resolvePublic("[2606:4700::1]", { lookup }), { address: "2606:4700::1", family: 6 })
})

test("what is no host name is refused before any look-up", async () => {
  const lookup = async () => assert.fail("looked up")
  for (const host of ["", "a b", "a\nb", "a/b", "a@b", "é.example", "-a", "a".repeat(300)]) {
    await assert.rejects(resolvePublic(host, { lookup }), refusedWith("forbidden"), JSON.stringify(host))
  }
})

test("a name that does not resolve is refused in the words for one that leads inside", async () => {
  const said = async (lookup: () => Promise<string[]>) => {
    const refused: unknown = await resolvePublic("who.example", { lookup }).catch((error: unknown) => error)
    assert.ok(refused instanceof AppError)
    return [refused.code, refused.message, refused.cause]
  }
  const gone = await said(() => Promise.reject(new Error("queryA ENOTFOUND who.example")))
  assert.deepEqual(gone, await said(async () => ["10.0.0.1"]))
  assert.deepEqual(gone, await said(async () => []))
  assert.deepEqual(gone, ["forbidden", "who.example is not a public address or does not resolve", undefined])
})
