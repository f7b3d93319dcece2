// SPDX-License-Identifier: Apache-2.0

/// Stable names of what can be wrong; a code is never reused for something else.
package enum DiagnosticCode: String, Sendable, CaseIterable {
    // Files and text.
    case unreadable = "R001"
    case notText = "R002"
    case unclosedString = "R003"
    case badEscape = "R004"
    case unexpected = "R005"
    case unclosedBlock = "R006"
    case strayBrace = "R007"
    case tooDeep = "R008"
    case tooLarge = "R009"

    // Keywords and blocks.
    case unknownKeyword = "R010"
    case duplicate = "R011"
    case misplaced = "R012"
    case repeated = "R013"
    case missingStatement = "R014"
    case blockMissing = "R015"
    case blockUnexpected = "R016"

    // Arguments.
    case wrongArgument = "R020"
    case unitMissing = "R021"
    case outOfRange = "R022"
    case tooManyArguments = "R023"
    case missingArgument = "R024"
    case badName = "R025"

    // References.
    case includeCycle = "R030"
    case includeMissing = "R031"
    case unknownFunction = "R032"
    case unknownLet = "R033"
    case unknownTopic = "R034"
    case unknownPolicy = "R035"
    case unknownSubscriber = "R036"
    case environmentMissing = "R037"
    case secretMissing = "R038"
    case fileMissing = "R039"

    // Meaning.
    case badFilter = "R040"
    case conflict = "R050"
    case badGrant = "R051"
    /// R060 said that a keyword was not served yet.
    case unprotected = "R061"

    // Plugins; said by whoever loads them.
    case badPlugin = "P001"
    case unknownGlobal = "P002"
    case unknownMember = "P003"

    // Warnings.
    case topicUnread = "R101"
    case filterNeverTrue = "R102"
    case mixedConnectives = "R103"
    case patternMatchesNothing = "R104"
    case deadLetterLoop = "R105"
    case nothingPublishes = "R106"
    case looseNot = "R107"
    case attributeTypes = "R108"
    case tooMany = "R199"
}
