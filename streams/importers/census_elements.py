"""The elements of the census schemas of 2018 to 2026, in lower case, that the import knows.

Case differs between exports, so names are compared in lower case throughout.
"""

from __future__ import annotations

from typing import Final

CONTAINERS: Final = frozenset(
    {
        "childidentifiers",
        "childcharacteristics",
        "disabilities",
        "cindetails",
        "assessments",
        "reviews",
        "section47",
        "factorsidentifiedatassessment",
        "cinplandates",
        "childprotectionplans",
        "preproceedingsandfgdm",
    }
)
KNOWN: Final = CONTAINERS | frozenset(
    {
        "child",
        "lachildid",
        "upn",
        "formerupn",
        "upnunknown",
        "personbirthdate",
        "expectedpersonbirthdate",
        "sex",
        "gendercurrent",
        "persondeathdate",
        "ethnicity",
        "disability",
        "cinreferraldate",
        "referralsource",
        "primaryneedcode",
        "cinclosuredate",
        "reasonforclosure",
        "dateofinitialcpc",
        "referralnfa",
        "assessmentactualstartdate",
        "assessmentinternalreviewdate",
        "assessmentauthorisationdate",
        "assessmentfactors",
        "cinplanstartdate",
        "cinplanenddate",
        "s47actualstartdate",
        "initialcpctarget",
        "icpcnotrequired",
        "cppstartdate",
        "cppenddate",
        "initialcategoryofabuse",
        "latestcategoryofabuse",
        "numberofpreviouscpp",
        "cppreviewdate",
    }
)
