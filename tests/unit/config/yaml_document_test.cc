#include "server/config/yaml_document.h"

#include <gmock/gmock.h>

namespace flotilla::config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// "2:3: text" for each error.
std::vector<std::string> ErrorsOf(std::string_view text) {
  std::vector<std::string> errors;
  for (const YamlError& e : ParseYaml(text).errors) {
    errors.push_back(std::to_string(e.place.line) + ":" + std::to_string(e.place.column) + ": " + e.text);
  }
  return errors;
}

TEST(YamlDocumentTest, KeepsOrderDuplicatesAndPlaces) {
  const YamlDocument document = ParseYaml("a:\n  x: 1\n  x: 'two'\nb: [p, \"q\"]\n");
  ASSERT_THAT(document.errors, IsEmpty());
  ASSERT_EQ(document.root.entries.size(), 2u);
  const YamlNode& a = document.root.entries[0].value;
  ASSERT_EQ(a.entries.size(), 2u);
  EXPECT_EQ(a.entries[0].value.text, "1");
  EXPECT_EQ(a.entries[1].key, "x");
  EXPECT_EQ(a.entries[1].value.text, "two");
  EXPECT_EQ(a.entries[1].place, (YamlPlace{.line = 3, .column = 3}));
  EXPECT_EQ(a.entries[1].value.place, (YamlPlace{.line = 3, .column = 6}));
  ASSERT_EQ(document.root.entries[1].value.items.size(), 2u);
  EXPECT_EQ(document.root.entries[1].value.items[1].text, "q");
}

TEST(YamlDocumentTest, AnEmptyTextIsNothing) {
  for (const char* text : {"", "\n", "# only a comment\n", "---\n", "~\n"}) {
    const YamlDocument document = ParseYaml(text);
    EXPECT_THAT(document.errors, IsEmpty()) << text;
    EXPECT_EQ(document.root.kind, YamlNode::Kind::kNull) << text;
  }
}

TEST(YamlDocumentTest, WhatHidesValuesIsRefused) {
  EXPECT_THAT(ErrorsOf("a: &x 1\nb: *x\n"), ElementsAre("1:4: anchors (&name) are not supported; write the value where it is needed",
                                                        "2:4: aliases (*name) are not supported; write the value out"));
  EXPECT_THAT(ErrorsOf("a:\n  <<: {b: 1}\n"), ElementsAre("2:3: merge keys (<<) are not supported; write the values out"));
  EXPECT_THAT(ErrorsOf("a: !!int 1\n"), ElementsAre("1:4: tags (!name) are not supported; leave the tag out"));
  EXPECT_THAT(ErrorsOf("? [a, b]\n: 1\n"), ElementsAre("1:3: a key is a plain word, such as listen"));
  EXPECT_THAT(ErrorsOf("a: 1\n---\nb: 2\n"),
              ElementsAre(HasSubstr("a second document begins here; a configuration is one: remove the '---'")));
}

TEST(YamlDocumentTest, TabsAndControlCharactersAreRefusedWhereTheyStand) {
  EXPECT_THAT(ErrorsOf("a:\n\tb: 1\n"), ElementsAre("2:1: a tab at the beginning of a line; indent with spaces"));
  EXPECT_THAT(ErrorsOf(std::string_view("a: \0", 4)), ElementsAre("1:4: byte 0x00 is no text; write the file in UTF-8"));
  EXPECT_THAT(ErrorsOf("\xff\xfe"),
              ElementsAre("1:1: byte 0xff is no text; write the file in UTF-8", "1:2: byte 0xfe is no text; write the file in UTF-8"));
}

TEST(YamlDocumentTest, BadSyntaxIsOneErrorWithItsPlace) {
  EXPECT_THAT(ErrorsOf("a: 1\n b: 2\n"), ElementsAre(StartsWith("2:")));
  EXPECT_THAT(ErrorsOf("a: \"open\nb: 1\n"), ElementsAre("1:4: this quote is never closed"));
  EXPECT_THAT(ErrorsOf("a: 'open"), ElementsAre("1:4: this quote is never closed"));
  EXPECT_THAT(ErrorsOf("a: |\n  # closed\nb: > \n  text # as well"), IsEmpty());
  EXPECT_THAT(ErrorsOf("a: [1, 2\n"), ElementsAre(HasSubstr("not valid YAML: ")));
}

TEST(YamlDocumentTest, EndlessNestingEndsInAnError) {
  for (const std::string& opening : {std::string("["), std::string("{"), std::string("- "), std::string("a: {")}) {
    std::string text;
    for (int i = 0; i < 20'000; ++i) text += opening;
    ASSERT_THAT(ErrorsOf(text), ElementsAre(testing::_)) << opening;
    EXPECT_EQ(ParseYaml(text).root.kind, YamlNode::Kind::kRefused) << opening;
  }
  EXPECT_THAT(ErrorsOf("a: [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]\n"), ElementsAre(HasSubstr("nested more than 16 deep")));
}

TEST(YamlDocumentTest, AFileBeyondTheLimitIsRefused) {
  EXPECT_THAT(ErrorsOf(std::string(kYamlBytesMax + 1, '#')),
              ElementsAre("0:0: the file has 1048577 bytes; a configuration has at most 1 MiB"));
}

TEST(YamlDocumentTest, AScalarIsReadAsItWasWritten) {
  for (const std::string text : {"",   "plain", "10.0.0.1:9651", "[::1]:9650", "~",   "null", "a b", "\"", "\\", "# no",    "-", "- a",
                                 "a:", ": a",   "\x01\n\t",      "/var/lib",   "{a}", "*a",   "&a",  "!a", "'",  "\xc3\xa4"}) {
    const YamlDocument document = ParseYaml("a: [" + YamlScalar(text) + "]\n");
    ASSERT_THAT(document.errors, IsEmpty()) << text << " as " << YamlScalar(text) << ": " << document.errors[0].text;
    const YamlNode& item = document.root.entries.at(0).value.items.at(0);
    EXPECT_EQ(item.kind, YamlNode::Kind::kText) << YamlScalar(text);
    EXPECT_EQ(item.text, text) << YamlScalar(text);
  }
}

}  // namespace
}  // namespace flotilla::config
