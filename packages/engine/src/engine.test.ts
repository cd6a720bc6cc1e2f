import { EngineWorld } from '@stathmos/testkit'
import { expect, test } from 'vitest'

test('starting and stopping in any order, also without any work between, leaves a directory that opens', async () => {
  const world = await EngineWorld.open()
  for (let i = 0; i < 12; i++) {
    if (i % 3 === 2) await world.kill()
    else await world.reopen()
    expect(world.engine.recovery.clean).toBe(i % 3 !== 2)
  }
})
