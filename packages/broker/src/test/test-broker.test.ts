import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { startTestBroker } from './index.ts'

test('any number of test brokers run side by side and leave nothing behind', async () => {
  const brokers = await Promise.all([startTestBroker(), startTestBroker()])
  const ready = await Promise.all(brokers.map((broker) => fetch(`${broker.urls.http}/readyz`)))
  expect(ready.map((response) => response.status)).toEqual([200, 200])
  expect(brokers[0].urls.amqp).toMatch(/^amqp:\/\/guest:guest@127\.0\.0\.1:\d+$/)
  expect(brokers[0].urls.amqp).not.toBe(brokers[1].urls.amqp)
  await Promise.all(brokers.map((broker) => broker.stop()))
  expect(brokers.map((broker) => existsSync(broker.dataDir))).toEqual([false, false])
})

test('a directory that the test brought stays, and can be started on again', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'stathmos-brought-'))
  for (let round = 0; round < 2; round++) await (await startTestBroker({ dataDir })).stop()
  expect(existsSync(dataDir)).toBe(true)
  rmSync(dataDir, { recursive: true })
})
