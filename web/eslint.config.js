/** ESLint finds mistakes that TypeScript and svelte-check accept. Prettier checks the style. */
import js from '@eslint/js';
import svelte from 'eslint-plugin-svelte';
import { defineConfig } from 'eslint/config';
import ts from 'typescript-eslint';
import { BASELINE_EXCEPTIONS } from './build/baseline-exceptions.ts';
import { supportedByBaseline } from './build/eslint-baseline.ts';
import svelteConfig from './svelte.config.js';

/** Syntax that Chrome 87 cannot parse. The build cannot convert this syntax without a loss. */
const NEWER_SYNTAX = [
    { selector: 'StaticBlock', message: 'Chrome 93 and older cannot read a static block.' },
    {
        selector: "BinaryExpression[operator='in'][left.type='PrivateIdentifier']",
        message: 'Chrome 90 and older cannot read `#name in object`.',
    },
    {
        selector: 'Literal[regex.flags=/[dv]/]',
        message: 'Chrome 89 and older cannot read the flags d and v.',
    },
];

export default defineConfig(
    { ignores: ['dist', 'shared/api/openapi.ts', 'shared/realtime/frames.ts'] },
    { linterOptions: { reportUnusedDisableDirectives: 'error' } },
    js.configs.recommended,
    ts.configs.recommended,
    svelte.configs.recommended,
    {
        files: ['**/*.svelte', '**/*.svelte.ts'],
        languageOptions: { parserOptions: { parser: ts.parser, svelteConfig } },
    },
    {
        files: ['{customer,mitra,control-center,shared}/**/*.{ts,svelte}'],
        languageOptions: { parserOptions: { projectService: true, extraFileExtensions: ['.svelte'] } },
        plugins: { curhat: { rules: { 'supported-by-baseline': supportedByBaseline } } },
        rules: {
            'curhat/supported-by-baseline': ['error', BASELINE_EXCEPTIONS],
            '@typescript-eslint/await-thenable': 'error',
            '@typescript-eslint/no-floating-promises': 'error',
            '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
            '@typescript-eslint/switch-exhaustiveness-check': [
                'error',
                { considerDefaultExhaustiveForUnions: true },
            ],
            'no-restricted-syntax': ['error', ...NEWER_SYNTAX],
            // TypeScript reports unknown names.
            'no-undef': 'off',
            // The clients have no Svelte stores, and this rule takes seconds.
            'svelte/require-store-reactive-access': 'off',
            // The stores keep each Map and Date in `$state.raw`. The stores replace a Map or Date and never change its
            // content.
            'svelte/prefer-svelte-reactivity': 'off',
        },
    },
    {
        files: ['{customer,mitra,control-center,shared}/**/*.{ts,svelte}'],
        ignores: ['shared/storage.ts', '**/*.test.ts'],
        rules: {
            'no-restricted-globals': [
                'error',
                { name: 'localStorage', message: 'It may throw: use deviceStorage of shared/storage.ts.' },
                { name: 'sessionStorage', message: 'It may throw: use tabStorage of shared/storage.ts.' },
            ],
        },
    },
    {
        // Every browser must be able to read this file, even a browser that is too old for the app.
        files: ['shared/boot.js'],
        languageOptions: { ecmaVersion: 5, sourceType: 'script' },
        rules: {
            'no-undef': 'off',
            '@typescript-eslint/no-unused-vars': ['error', { caughtErrors: 'none' }],
        },
    },
    {
        // The global types of a service worker differ from the global types of a page.
        files: ['shared/worker/**'],
        languageOptions: { parserOptions: { projectService: false, project: 'tsconfig.worker.json' } },
    },
    { files: ['**/*.test.ts'], rules: { 'curhat/supported-by-baseline': 'off' } },
);
