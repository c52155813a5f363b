import assert from "node:assert/strict"
import { test } from "node:test"
import { forEachDatabase } from "../../../test/databases.ts"
import { skillsUnderTest } from "../../../test/skills.ts"
import { skillMd } from "../../../test/zip.ts"
import { openBench } from "../chat/test-kit.ts"

forEachDatabase((_name, open) => {
  test("a session's next message knows of a skill's change, and of the skill that it calls by /name", async () => {
    await using db = await open()
    using under = await skillsUnderTest({ db })
    const { skills, user, agentId } = under
    const ports = {
      skills: () => skills.forPrompt(user.id, agentId),
      calledSkill: (_user: string, _agent: string, text: string) => skills.called(user.id, agentId, text),
    }
    await using bench = await openBench(db, { ports })
    const say = async (text: string) => {
      await (await bench.chat.submit(bench.say(text, { session: "s" }))).ended
      const spec = bench.runtime.specs.at(-1)
      const path = /The user calls the skill \S+: read (\S+) and follow it\./.exec(spec?.context ?? "")?.[1] ?? null
      return { skills: spec?.prompt.skills.map((skill) => skill.description), path }
    }
    assert.deepEqual(await say("hi"), { skills: [], path: null })
    await under.upload("greeter", skillMd("greeter", "", "One."))
    assert.deepEqual(await say("hi"), { skills: ["One."], path: null })
    await under.upload("greeter", skillMd("greeter", "", "Two."))
    assert.deepEqual(await say("/greeter for ada"), { skills: ["Two."], path: "/skills/greeter/SKILL.md" })
    await under.upload("greeter", skillMd("greeter", "user-invocable: false\n", "Two."))
    assert.deepEqual(await say("/greeter for ada"), { skills: ["Two."], path: null })
  })
})
