import { expect, test } from 'vitest'
import { settingsPage } from './describe.ts'

test('docs/configuration.md says what the option table says', async () => {
  await expect(settingsPage()).toMatchFileSnapshot('../../../../docs/configuration.md')
})
