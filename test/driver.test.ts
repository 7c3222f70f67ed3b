// The pure parts of the driver installation: apt's sources and versions → what is written and run. No package is installed here.
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  adviceFor,
  commandsText,
  mesaRelease,
  parseListFile,
  parseOsRelease,
  parseSourcesFile,
  planInstall,
  sourceFor,
} from '../src/cli/driver.ts';

const ARCHIVE = 'http://mirror.example.org/debian';
const install = (target: string) => `apt-get install -y --no-install-recommends ${target}mesa-vulkan-drivers libvulkan1`;

const policy = (candidate: string, archive = ARCHIVE, suite = 'bookworm') => `mesa-vulkan-drivers:
  Installed: (none)
  Candidate: ${candidate}
  Version table:
     ${candidate} 500
        500 ${archive} ${suite}/main amd64 Packages
`;

const STANZAS = `Types: deb deb-src
# a comment inside a stanza
URIs: ${ARCHIVE}/
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 bW9ja2tleQ==
 -----END PGP PUBLIC KEY BLOCK-----
Architectures: amd64

Enabled: no
Types: deb
URIs: ${ARCHIVE}
Suites: bookworm-backports
Components: main

Types: deb-src
URIs: ${ARCHIVE}
Suites: bookworm-backports
Components: main
`;

const LINES = `# deb ${ARCHIVE} bookworm-backports main
deb cdrom:[Debian GNU/Linux 12.0.0 _Bookworm_]/ bookworm main
deb https://vendor.example.org/repository bookworm main
deb [signed-by=/usr/share/keyrings/example.gpg arch=amd64] ${ARCHIVE} bookworm main contrib # the release
deb-src ${ARCHIVE} bookworm main
`;

test("Mesa's release in a Debian version", () => {
  for (const [version, release] of [
    ['22.3.6-1+deb12u2', 22.3],
    ['1:25.0.7-2~bpo12+1', 25],
    ['23.2.1-1ubuntu3.1~22.04.4', 23.2],
  ] as const) {
    assert.is(mesaRelease(version), release);
  }
  assert.ok(Number.isNaN(mesaRelease('(none)')));
});

test('one-line sources: comments, cdrom and source packages stay out, options are kept', () => {
  const sources = parseListFile(LINES).filter(({ suites }) => suites[0] === 'bookworm');
  assert.equal(sources[1], {
    form: 'list',
    uris: [ARCHIVE],
    suites: ['bookworm'],
    components: ['main', 'contrib'],
    options: 'signed-by=/usr/share/keyrings/example.gpg arch=amd64',
  });
  assert.is(sources.length, 2);
  assert.is(
    sourceFor(sources[1], 'bookworm-backports'),
    `deb [signed-by=/usr/share/keyrings/example.gpg arch=amd64] ${ARCHIVE} bookworm-backports main`,
  );
  assert.is(sourceFor(parseListFile(`deb ${ARCHIVE} bookworm main`)[0], 'bookworm-backports'), `deb ${ARCHIVE} bookworm-backports main`);
});

test('deb822 sources: disabled and source-only stanzas stay out, an embedded key is kept', () => {
  const sources = parseSourcesFile(STANZAS);
  assert.is(sources.length, 1);
  assert.equal(sources[0].suites, ['bookworm', 'bookworm-updates']);
  assert.is(
    sourceFor(sources[0], 'bookworm-backports'),
    `Types: deb
URIs: ${ARCHIVE}/
Suites: bookworm-backports
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 bW9ja2tleQ==
 -----END PGP PUBLIC KEY BLOCK-----
Architectures: amd64`,
  );
});

test('plan: the own suite where its Mesa is new enough', () => {
  const plan = planInstall(policy('25.0.7-2', ARCHIVE, 'trixie'), parseListFile(`deb ${ARCHIVE} trixie main`), 'trixie');
  assert.equal(plan, { from: 'trixie', commands: ['apt-get update', install('')] });
});

test("plan: backports from the archive that holds Mesa, not from another vendor's", () => {
  const plan = planInstall(policy('22.3.6-1+deb12u2'), parseListFile(LINES), 'bookworm')!;
  const file = '/etc/apt/sources.list.d/deqreg-backports.list';
  assert.is(plan.created, file);
  assert.equal(plan.commands, [
    `tee ${file} <<'END'\ndeb [signed-by=/usr/share/keyrings/example.gpg arch=amd64] ${ARCHIVE} bookworm-backports main\nEND`,
    'apt-get update',
    install('-t bookworm-backports '),
  ]);
  const stanza = planInstall(policy('22.3.6-1'), parseSourcesFile(STANZAS), 'bookworm')!;
  assert.is(stanza.created, '/etc/apt/sources.list.d/deqreg-backports.sources');
});

test('plan: configured backports are used as they are', () => {
  const sources = parseListFile(`deb ${ARCHIVE} bookworm main\ndeb ${ARCHIVE} bookworm-backports main contrib`);
  assert.equal(planInstall(policy('22.3.6-1'), sources, 'bookworm'), {
    from: 'bookworm-backports',
    commands: ['apt-get update', install('-t bookworm-backports ')],
  });
});

test('plan: none without package lists or without a source of the release', () => {
  assert.is(planInstall('', parseListFile(LINES), 'bookworm'), null);
  assert.is(planInstall('mesa-vulkan-drivers:\n  Installed: (none)\n  Candidate: (none)\n', parseListFile(LINES), 'bookworm'), null);
  assert.is(planInstall(policy('22.3.6-1'), [], 'bookworm'), null);
});

test('advice by system; sudo for users only', () => {
  const advice = (platform: string, release: string) => adviceFor(platform, parseOsRelease(release));
  assert.match(advice('linux', 'ID=fedora\nVERSION_ID=42'), '\nsudo dnf install mesa-vulkan-drivers vulkan-loader\n');
  assert.match(advice('linux', 'ID="manjaro"\nID_LIKE="arch"'), '\nsudo pacman -S --needed vulkan-swrast vulkan-icd-loader\n');
  assert.match(advice('linux', 'ID=linuxmint\nID_LIKE="ubuntu debian"'), '\nsudo apt-get install mesa-vulkan-drivers libvulkan1\n');
  assert.match(advice('linux', 'ID=alpine'), '\nsudo apk add mesa-vulkan-swrast vulkan-loader gcompat\n');
  assert.match(advice('linux', 'ID=other'), 'version 23.2 or newer.\nInstall one');
  assert.match(advice('darwin', ''), 'Metal');
  assert.not.match(commandsText(['apt-get update'], false), 'sudo');
});

test.run();
