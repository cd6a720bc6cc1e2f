// The crash and the power cut as everyday events. `npm run torture -- --cycles 500 --fault power` is the long form.
import { spawnSync } from 'node:child_process'
import { rmSync } from 'node:fs'
import { expect, test } from 'vitest'
import { whyNoPowerCut } from '../torture/disk.mjs'
import { torture } from '../torture/torture.mjs'

/** STATHMOS_TORTURE_CYCLES=100 for a longer run, 0 for none. */
const CYCLES = Number(process.env['STATHMOS_TORTURE_CYCLES'] ?? 25)
/** A cycle takes about a second; a loaded machine gets ten. */
const LIMIT_MS = 60_000 + CYCLES * 10_000

test.skipIf(CYCLES === 0)(
  `after ${CYCLES} kills under load every promise was kept [I1-I7]`,
  { timeout: LIMIT_MS },
  async () => {
    const report = await torture({ cycles: CYCLES, fault: 'kill' })
    expect(report.violations, `seed ${report.seed}, ledgers in ${report.dir}`).toEqual([])
    expect(report.counts.confirmed).toBeGreaterThan(CYCLES * 10)
  },
)

const reason = await whyNoPowerCut()
test.skipIf(CYCLES === 0 || reason !== null)(
  `after ${CYCLES} power cuts under load every promise was kept [I1-I7]${reason === null ? '' : ` (skipped: ${reason})`}`,
  { timeout: LIMIT_MS },
  async () => {
    const report = await torture({ cycles: CYCLES, fault: 'power' })
    expect(report.violations, `seed ${report.seed}, ledgers in ${report.dir}`).toEqual([])
    expect(report.counts.confirmed).toBeGreaterThan(CYCLES * 10)
  },
)

test.skipIf(CYCLES === 0 || reason !== null || spawnSync('gcc', ['--version']).error !== undefined)(
  'a disk whose syncs do nothing is found out by a power cut [I1]',
  { timeout: LIMIT_MS },
  async () => {
    const report = await torture({ cycles: 3, fault: 'power', sabotage: 'nosync' })
    expect(new Set(report.violations.map(({ invariant }) => invariant))).toContain('I1')
    rmSync(report.dir, { recursive: true, force: true })
  },
)
