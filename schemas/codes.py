"""Official code lists as enums, with where each comes from. Values are what travels in messages."""

from enum import StrEnum


class ReferralSource(StrEnum):
    """Who made a contact or referral (DfE Children in Need census, ReferralSource)."""

    FAMILY = "1A"
    ACQUAINTANCE = "1B"
    SELF = "1C"
    OTHER_INDIVIDUAL = "1D"
    SCHOOL = "2A"
    EDUCATION_SERVICE = "2B"
    GP = "3A"
    HEALTH_VISITOR = "3B"
    SCHOOL_NURSE = "3C"
    OTHER_PRIMARY_HEALTH = "3D"
    EMERGENCY_DEPARTMENT = "3E"
    OTHER_HEALTH = "3F"
    HOUSING = "4"
    ADULT_SOCIAL_CARE = "5A"
    LA_INTERNAL = "5B"
    LA_EXTERNAL = "5C"
    LA_EARLY_HELP = "5D"
    POLICE = "6"
    OTHER_LEGAL = "7"
    OTHER = "8"
    ANONYMOUS = "9"
    UNKNOWN = "10"


class PrimaryNeed(StrEnum):
    """Primary need (DfE Children in Need census, PrimaryNeedCode)."""

    ABUSE_OR_NEGLECT = "N1"
    CHILD_DISABILITY = "N2"
    PARENTAL_DISABILITY = "N3"
    ACUTE_STRESS = "N4"
    DYSFUNCTION = "N5"
    UNACCEPTABLE_BEHAVIOUR = "N6"
    LOW_INCOME = "N7"
    ABSENT_PARENTING = "N8"
    OTHER = "N9"
    NOT_STATED = "N0"


class ClosureReason(StrEnum):
    """Reason for closure (DfE Children in Need census, ReasonForClosure)."""

    ADOPTED = "RC1"
    DIED = "RC2"
    CHILD_ARRANGEMENTS_ORDER = "RC3"
    SPECIAL_GUARDIANSHIP = "RC4"
    TRANSFERRED_LA = "RC5"
    TRANSFERRED_ADULTS = "RC6"
    CEASED = "RC7"
    NO_FURTHER_ACTION = "RC8"
    EARLY_HELP = "RC9"


class AssessmentFactor(StrEnum):
    """Factors at the end of an assessment (DfE Children in Need census); A child, B parent, C other."""

    F1A = "1A"
    F1B = "1B"
    F1C = "1C"
    F2A = "2A"
    F2B = "2B"
    F2C = "2C"
    F3A = "3A"
    F3B = "3B"
    F3C = "3C"
    F4A = "4A"
    F4B = "4B"
    F4C = "4C"
    F5A = "5A"
    F5B = "5B"
    F5C = "5C"
    F6A = "6A"
    F6B = "6B"
    F6C = "6C"
    F7A = "7A"
    F8B = "8B"
    F8C = "8C"
    F8D = "8D"
    F8E = "8E"
    F8F = "8F"
    F9A = "9A"
    F10A = "10A"
    F11A = "11A"
    F12A = "12A"
    F13A = "13A"
    F14A = "14A"
    F15A = "15A"
    F16A = "16A"
    F17A = "17A"
    F18A = "18A"
    F18B = "18B"
    F18C = "18C"
    F19A = "19A"
    F19B = "19B"
    F19C = "19C"
    F20 = "20"
    F21 = "21"
    F22A = "22A"
    F23A = "23A"
    F24A = "24A"


class CategoryOfAbuse(StrEnum):
    """Category of a child protection plan (DfE Children in Need census)."""

    NEGLECT = "NEG"
    PHYSICAL = "PHY"
    SEXUAL = "SAB"
    EMOTIONAL = "EMO"
    MULTIPLE = "MUL"


class Disability(StrEnum):
    """Disability (DfE Children in Need census)."""

    NONE = "NONE"
    MOBILITY = "MOB"
    HAND = "HAND"
    PERSONAL_CARE = "PC"
    INCONTINENCE = "INC"
    COMMUNICATION = "COMM"
    LEARNING = "LD"
    HEARING = "HEAR"
    VISION = "VIS"
    BEHAVIOUR = "BEH"
    CONSCIOUSNESS = "CON"
    AUTISM = "AUT"
    OTHER = "DDA"


class AttendanceCode(StrEnum):
    """School attendance codes, England, from August 2024."""

    PRESENT_AM = "/"
    PRESENT_PM = "\\"
    CODE_L = "L"
    CODE_B = "B"
    CODE_K = "K"
    CODE_P = "P"
    CODE_V = "V"
    CODE_W = "W"
    CODE_C = "C"
    CODE_C1 = "C1"
    CODE_C2 = "C2"
    CODE_E = "E"
    CODE_I = "I"
    CODE_J1 = "J1"
    CODE_M = "M"
    CODE_R = "R"
    CODE_S = "S"
    CODE_T = "T"
    CODE_G = "G"
    CODE_N = "N"
    CODE_O = "O"
    CODE_U = "U"
    CODE_Q = "Q"
    CODE_Y1 = "Y1"
    CODE_Y2 = "Y2"
    CODE_Y3 = "Y3"
    CODE_Y4 = "Y4"
    CODE_Y5 = "Y5"
    CODE_Y6 = "Y6"
    CODE_Y7 = "Y7"
    CODE_D = "D"
    CODE_X = "X"
    CODE_Z = "Z"
    CLOSED = "#"
    NO_MARK = "-"


ABSENT_CODES = frozenset(["C", "C1", "C2", "E", "I", "J1", "M", "R", "S", "T", "G", "N", "O", "U"])
"""Authorised and unauthorised absence. Present, approved off site, unable to attend and not counted are not absence."""


class SuspensionReason(StrEnum):
    """Reasons for suspension and exclusion (DfE)."""

    PHYSICAL_PUPIL = "PP"
    PHYSICAL_ADULT = "PA"
    VERBAL_PUPIL = "VP"
    VERBAL_ADULT = "VA"
    WEAPON = "OW"
    BULLYING = "BU"
    RACIST = "RA"
    SEXUAL_ORIENTATION = "LG"
    DISABILITY = "DS"
    SEXUAL_MISCONDUCT = "SM"
    DRUGS = "DA"
    DAMAGE = "DM"
    THEFT = "TH"
    DISRUPTIVE = "DB"
    ONLINE = "MT"
    PUBLIC_HEALTH = "PH"


class ContactOutcome(StrEnum):
    """What became of a contact (Standard Safeguarding Dataset, contact_outcome)."""

    NO_FURTHER_ACTION = "no_further_action"
    INFORMATION_AND_ADVICE = "information_and_advice"
    EARLY_HELP_REFERRAL = "early_help_referral"
    CHILD_IN_NEED_REFERRAL = "child_in_need_referral"


class LegalStatus(StrEnum):
    """Legal status of a looked-after child (SSDA903)."""

    INTERIM_CARE_ORDER = "C1"
    CARE_ORDER = "C2"
    FREEING_ORDER = "D1"
    PLACEMENT_ORDER = "E1"
    SECTION_20 = "V2"
    SHORT_BREAKS_AGREED = "V3"
    SHORT_BREAKS = "V4"
    POLICE_PROTECTION = "L1"
    EMERGENCY_PROTECTION_ORDER = "L2"
    CHILD_ASSESSMENT_ORDER = "L3"
    REMAND = "J1"
    PACE = "J2"
    YOUTH_REHABILITATION = "J3"
