// Adds up vitest's JSON reports and ends with one plain line: 'N passed, N failed'.
import { existsSync, readFileSync } from 'node:fs'

let passed = 0
let failed = 0
let skipped = 0
for (const file of process.argv.slice(2)) {
  if (!existsSync(file)) {
    console.log(`${file} is missing: its suites did not finish`)
    failed++
    continue
  }
  const report = JSON.parse(readFileSync(file, 'utf8'))
  passed += report.numPassedTests
  skipped += report.numPendingTests
  // A file that does not load has no tests to fail, and must still count.
  const unloaded = report.testResults.filter(
    ({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0,
  )
  const counted = report.numFailedTests + unloaded.length
  // An error that no test caught fails the run and belongs to none of them.
  const uncaught = counted === 0 && !report.success
  if (uncaught) console.log(`${file}: the run failed although every test passed; an error was not caught`)
  failed += uncaught ? 1 : counted
  for (const { name, assertionResults } of report.testResults) {
    for (const { status, fullName } of assertionResults)
      if (status === 'failed') console.log(`failed: ${fullName} (${name})`)
  }
}
if (skipped > 0) console.log(`${skipped} skipped`)
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
